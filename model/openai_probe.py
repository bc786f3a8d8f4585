"""What a server can do, found out by asking it for a few tokens."""

from __future__ import annotations

from model.fim import Prompt, PromptBuilder
from model.openai_agreement import Agreement
from model.openai_client import CompletionsClient, Json
from model.openai_forms import FORMS, RequestForm, RequestWriter
from model.openai_tokens import Event, MalformedError, TokenReader
from model.remote_errors import (
    BadAnswerError,
    RemoteError,
    ServerFailedError,
    TokensDisagreeError,
)
from model.tokenizer import CodeTokenizer

_PREFIX = "def add(a, b):\n    return a"
_SUFFIX = "\n\n\nprint(add(1, 2))\n"
_NUM_TOKENS = 4
_NUM_TRIES = 2
# No code goes on with it here, unless it has to.
_UNLIKELY = "@"


async def find_form(
    client: CompletionsClient,
    model: str,
    tokenizer: CodeTokenizer,
    prompts: PromptBuilder,
) -> RequestForm:
    """Return the best form that the server answers sensibly.

    Raises ``TokensDisagreeError`` where its tokens are not the tokenizer's, and any
    ``RemoteError`` where no form is answered.
    """
    prompt = prompts.build(_PREFIX, _SUFFIX, order="auto", budget_tokens=256)
    probe = _Probe(client, model, tokenizer, prompt)
    failed: list[RequestForm] = []
    refusal: RemoteError | None = None
    for form in FORMS:
        found = await probe.tried(form)
        if isinstance(found, RequestForm):
            # Some servers fail at what they do not know, and some failed in passing:
            # those answer by now.
            for better in failed:
                again = await probe.tried(better)
                if isinstance(again, RequestForm):
                    return again
            return found
        refusal = found
        if found.is_transient:
            failed.append(form)
    assert refusal is not None
    raise refusal


class _Probe:
    """Asks a server for a few tokens, in one form or another."""

    def __init__(
        self,
        client: CompletionsClient,
        model: str,
        tokenizer: CodeTokenizer,
        prompt: Prompt,
    ) -> None:
        self._client = client
        self._model = model
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._reader = TokenReader(tokenizer)

    async def tried(self, form: RequestForm) -> RequestForm | RemoteError:
        """Return the form, constraining where the server is, or why it is refused.

        Raises a ``RemoteError`` where nothing can be said of it.
        """
        writer = RequestWriter(form, self._model, self._tokenizer)
        body = writer.body(
            self._prompt.token_ids, max_tokens=_NUM_TOKENS, num_top=form.num_top
        )
        try:
            answer = await self._client.complete(body, insist=False)
            event = _read(self._reader, answer)
            _check_count(answer, self._prompt, form)
        except (BadAnswerError, ServerFailedError) as error:
            if error.is_transient and error.status != 500:
                raise
            return error
        Agreement(self._tokenizer).check(event)
        if event.has_ids and await self._constrains(writer):
            return form.constraining
        return form

    async def _constrains(self, writer: RequestWriter) -> bool:
        """Return whether ``allowed_token_ids`` is heeded."""
        allowed = self._tokenizer.encode(_UNLIKELY)[:1]
        body = writer.choice(self._prompt.token_ids, allowed)
        for _ in range(_NUM_TRIES):
            try:
                answer = await self._client.complete(body, insist=False)
                tokens = _read(self._reader, answer).tokens
            except BadAnswerError:
                return False
            except ServerFailedError:
                continue
            return [one.token_id for one in tokens] == allowed
        return False


def _read(reader: TokenReader, answer: Json) -> Event:
    try:
        return reader.read(answer)
    except MalformedError as error:
        raise BadAnswerError(
            f"The completion server answers with {error}.",
            hint="Check that endpoint is that of an OpenAI-compatible server.",
        ) from error


def _check_count(answer: Json, prompt: Prompt, form: RequestForm) -> None:
    """Raise an error where the server read another number of tokens than were meant."""
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    meant = len(prompt.token_ids)
    # One more is the beginning of a text, which some servers add to a text.
    if not isinstance(counted, int) or counted in (meant, meant + 1):
        return
    if form.takes_ids:
        raise BadAnswerError("The completion server does not read token ids as such.")
    raise TokensDisagreeError(
        f"The completion server reads {counted} tokens where {meant} are meant: its "
        "model is another, or it does not find control tokens in a text.",
        hint="Set model to what it serves, by name or directory.",
    )
