"""Which part of a long text a prompt shows; the windows' edges move in coarse steps."""

from __future__ import annotations

from model.tokenizer import CodeTokenizer


def fit_suffix(tokenizer: CodeTokenizer, text: str, budget_tokens: int) -> list[int]:
    """Return the ids of as many whole leading lines of ``text`` as fit.

    A first line that is too long by itself is cut at a token.
    """
    text = text[: budget_tokens * 12]
    token_ids, starts = tokenizer.encode_with_offsets(text)
    if len(token_ids) <= budget_tokens:
        return token_ids
    limit = starts[budget_tokens]
    end = max(text.rfind("\n", 0, limit), text.rfind("\r", 0, limit)) + 1
    if end == 0:
        return token_ids[:budget_tokens]
    return tokenizer.encode(text[:end])[:budget_tokens]


def fit_prefix(
    tokenizer: CodeTokenizer, text: str, budget_tokens: int, start_line: int
) -> list[int]:
    """Return the ids of the end of ``text``, cut at its front in coarse steps.

    The cut is a line whose number in the document is a multiple of as high a power
    of two as leaves at least half of the budget filled. So the window's edge stands
    still while the user types, and the cache with it: after a move there is room for
    many lines until the next one.
    """
    if budget_tokens <= 0:
        return []
    text, start_line = _last_characters(text, budget_tokens * 12, start_line)
    token_ids, starts = tokenizer.encode_with_offsets(text)
    if len(token_ids) <= budget_tokens:
        return token_ids
    # Character offsets between which a cut leaves half to all of the budget.
    earliest = starts[len(token_ids) - budget_tokens]
    latest = starts[len(token_ids) - budget_tokens // 2]
    cut, best = 0, 0
    line = start_line
    position = text.find("\n") + 1
    while 0 < position <= latest:
        line += 1
        roundness = line & -line
        if position >= earliest and roundness >= best:
            cut, best = position, roundness
        position = text.find("\n", position) + 1
    if best:
        kept = tokenizer.encode(text[cut:])
        # Tokens may fall differently when a text begins at the cut.
        return kept[-budget_tokens:]
    # Very long lines: drop whole quarters of the budget instead.
    quarter = max(1, budget_tokens // 4)
    excess = len(token_ids) - budget_tokens
    return token_ids[-(-excess // quarter) * quarter :]


def _last_characters(text: str, limit: int, start_line: int) -> tuple[str, int]:
    """Drop text far beyond any budget before it costs tokenising, in coarse steps."""
    excess = len(text) - limit
    if excess <= 0:
        return text, start_line
    step = max(1, limit // 4)
    dropped = min(-(-excess // step) * step, len(text))
    return text[dropped:], start_line + text.count("\n", 0, dropped)
