"""What a server can do, found out by asking it for a few tokens."""

from __future__ import annotations

from collections.abc import Sequence

from model.fim import Prompt, PromptBuilder
from model.openai_client import CompletionsClient, Json
from model.openai_forms import FORMS, RequestForm, RequestWriter
from model.openai_tokens import Event, MalformedError, TokenReader
from model.remote_errors import (
    BadAnswerError,
    RemoteError,
    ServerFailedError,
    TokensDisagreeError,
)
from model.tokenizer import CodeTokenizer, StreamingDecoder

_PREFIX = "def add(a, b):\n    return a"
_SUFFIX = "\n\n\nprint(add(1, 2))\n"
_NUM_TOKENS = 4
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
    reader = TokenReader(tokenizer)
    refusal: RemoteError | None = None
    for form in FORMS:
        writer = RequestWriter(form, model, tokenizer)
        body = writer.body(
            prompt.token_ids, max_tokens=_NUM_TOKENS, num_top=form.num_top
        )
        try:
            answer = await client.complete(body, insist=False)
            event = _read(reader, answer)
            _check_count(answer, prompt, form)
        except (BadAnswerError, ServerFailedError) as error:
            if error.is_transient and error.status != 500:
                raise
            # Some servers fail at what they do not know.
            refusal = error
            continue
        _check_spelling(event, answer, prompt, tokenizer, prompts.stop_ids)
        if event.has_ids and await _constrains(client, writer, reader, prompt):
            return form.constraining
        return form
    assert refusal is not None
    raise refusal


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


def _check_spelling(
    event: Event,
    answer: Json,
    prompt: Prompt,
    tokenizer: CodeTokenizer,
    stop_ids: frozenset[int],
) -> None:
    """Raise an error where an id does not stand for the text beside it."""
    if event.has_ids:
        decoder = StreamingDecoder(tokenizer, prompt.token_ids)
        told = str(answer["choices"][0]["text"])
        ids = [one.token_id for one in event.tokens if one.token_id not in stop_ids]
        pairs = [(told, "".join(decoder.push(one) for one in ids if one is not None))]
    else:
        pairs = [
            (one.text, _spelled(tokenizer, one.token_id))
            for one in event.tokens
            if one.token_id is not None and one.text
        ]
    for told, ours in pairs:
        shorter = min(len(told.strip()), len(ours.strip()))
        # What is half a character is written in several ways.
        if told.strip()[:shorter] != ours.strip()[:shorter]:
            raise TokensDisagreeError(
                "The completion server's model has other tokens than those of the "
                "model that is set here.",
                hint="Set model to what the server serves, by name or directory.",
            )


def _spelled(tokenizer: CodeTokenizer, token_id: int) -> str:
    return tokenizer.vocabulary.bytes_of(token_id).decode("utf-8", "ignore")


async def _constrains(
    client: CompletionsClient,
    writer: RequestWriter,
    reader: TokenReader,
    prompt: Prompt,
) -> bool:
    """Return whether ``allowed_token_ids`` is heeded."""
    allowed: Sequence[int] = reader.tokenizer.encode(_UNLIKELY)[:1]
    body = writer.choice(prompt.token_ids, allowed)
    try:
        answer = await client.complete(body, insist=False)
        tokens = _read(reader, answer).tokens
    except (BadAnswerError, ServerFailedError):
        return False
    return [one.token_id for one in tokens] == list(allowed)
