"""What is found out about a server when it is first reached, and what fits it here."""

from __future__ import annotations

from dataclasses import dataclass

from model.dialects import DIALECTS
from model.errors import UnknownModelError
from model.fim import PromptBuilder
from model.interface import EngineOptions, ProgressCallback
from model.openai_client import CompletionsClient
from model.openai_forms import RequestForm
from model.openai_probe import find_form
from model.openai_served import ServedModel, choose_served, context_tokens_of
from model.openai_tokens import TokenReader
from model.prompt_files import find_prompt_files
from model.remote_options import Endpoint
from model.tokenizer import CodeTokenizer
from model.weights import PreparedModel


@dataclass(frozen=True, slots=True)
class Prompting:
    """What prompts for a model are made of, and its tokens are read with."""

    model: str
    prepared: PreparedModel
    tokenizer: CodeTokenizer
    prompts: PromptBuilder
    reader: TokenReader


@dataclass(frozen=True, slots=True)
class Connection:
    """Whom to ask, how, and for how much."""

    served: ServedModel
    prompting: Prompting
    form: RequestForm
    context_tokens: int


async def connect(
    client: CompletionsClient,
    endpoint: Endpoint,
    options: EngineOptions,
    known: Prompting | None,
    progress: ProgressCallback | None = None,
) -> Connection:
    """Find out which model the server has and what it can do.

    ``known`` is what was loaded before. Raises a ``RemoteError``, or a ``ModelError``
    where there is no tokenizer that fits.
    """
    listed = await client.models()
    served = choose_served(listed, options.remote_model, endpoint.host)
    model = options.model if options.model != "auto" else _name_of(served)
    if known is None or known.model != model:
        known = load_prompting(model, options, progress)
    form = await find_form(client, served.name, known.tokenizer, known.prompts)
    context_tokens = context_tokens_of(
        served, options.context_tokens, known.prepared.context_tokens
    )
    return Connection(served, known, form, context_tokens)


def load_prompting(
    model: str, options: EngineOptions, progress: ProgressCallback | None
) -> Prompting:
    """Load a model's tokenizer and prompts. Raises a ``ModelError``."""
    prepared = find_prompt_files(
        model, allow_download=options.allow_download, progress=progress
    )
    tokenizer = CodeTokenizer.from_file(prepared.directory / "tokenizer.json")
    prompts = PromptBuilder(
        tokenizer,
        DIALECTS[prepared.dialect],
        prepared.default_fim_order,
        prepared.stop_tokens,
    )
    return Prompting(model, prepared, tokenizer, prompts, TokenReader(tokenizer))


def _name_of(served: ServedModel) -> str:
    """Return the catalogue's name of what a server serves."""
    entry = served.entry
    if entry is None:
        raise UnknownModelError(
            f"It cannot be told which model {served.name!r} is that the server serves.",
            hint="Set model to its name in `lsp-stablecode models list`, its hub "
            "repository, or a directory with its config.json and tokenizer.json.",
        )
    return entry.name
