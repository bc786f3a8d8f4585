"""Fill-in-the-middle dialects as data, and prompts assembled in token ids.

Orders after Bavarian et al., "Efficient Training of Language Models to Fill in the
Middle" (arXiv:2207.14255): PSM puts the prefix first, SPM the suffix. In SPM's
variant with all markers in front (``<prefix><suffix>S<middle>P``) everything stays
cached while the user types, because the prompt grows only at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from model.errors import TokenizerError
from model.interface import FimOrder
from model.tokenizer import CodeTokenizer

MOST_PSM_SUFFIX_TOKENS = 512


class Slot(Enum):
    """Where the user's text goes in a template."""

    PREFIX = "prefix"
    SUFFIX = "suffix"


Template = tuple[str | Slot, ...]
"""Control tokens by spelling, with slots for the user's text."""

_P, _S = Slot.PREFIX, Slot.SUFFIX


@dataclass(frozen=True, slots=True)
class FimDialect:
    """How one family of models was taught to fill in the middle."""

    name: str
    psm: Template | None = None
    spm: Template | None = None
    prefix_only: Template = (_P,)

    @property
    def orders(self) -> tuple[str, ...]:
        """The orders this dialect has a template for."""
        return tuple(
            order
            for order, template in (("psm", self.psm), ("spm", self.spm))
            if template is not None
        )

    def choose(self, order: FimOrder, default: str) -> tuple[str, Template]:
        """Return the order to use and its template.

        An order the dialect lacks falls back to one it has, or to the prefix alone.
        """
        wanted = default if order == "auto" else order
        templates = {"psm": self.psm, "spm": self.spm}
        for name in (wanted, *self.orders):
            template = templates.get(name)
            if template is not None:
                return name, template
        return "prefix-only", self.prefix_only


_BIGCODE_PSM: Template = ("<fim_prefix>", _P, "<fim_suffix>", _S, "<fim_middle>")
_BIGCODE_SPM: Template = ("<fim_prefix>", "<fim_suffix>", _S, "<fim_middle>", _P)

DIALECTS: dict[str, FimDialect] = {
    dialect.name: dialect
    for dialect in (
        FimDialect("starcoder", _BIGCODE_PSM, _BIGCODE_SPM),
        FimDialect("stable-code", _BIGCODE_PSM, _BIGCODE_SPM),
        # The tokenizer has the tokens, but nothing says the model was taught them.
        FimDialect("stablecode-alpha"),
        FimDialect(
            "starcoder2",
            _BIGCODE_PSM,
            _BIGCODE_SPM,
        ),
        FimDialect("granite", _BIGCODE_PSM, _BIGCODE_SPM),
        FimDialect(
            "refact",
            spm=("<fim_suffix>", _S, "<fim_prefix>", _P, "<fim_middle>"),
        ),
        FimDialect(
            "codellama",
            psm=("<s>", "▁<PRE>", _P, "▁<SUF>", _S, "▁<MID>"),
            prefix_only=("<s>", _P),
        ),
        FimDialect(
            "deepseek-coder",
            psm=(
                "<｜begin▁of▁sentence｜>",
                "<｜fim▁begin｜>",
                _P,
                "<｜fim▁hole｜>",
                _S,
                "<｜fim▁end｜>",
            ),
            prefix_only=("<｜begin▁of▁sentence｜>", _P),
        ),
        FimDialect(
            "qwen2.5-coder",
            psm=("<|fim_prefix|>", _P, "<|fim_suffix|>", _S, "<|fim_middle|>"),
            spm=("<|fim_prefix|>", "<|fim_suffix|>", _S, "<|fim_middle|>", _P),
        ),
        FimDialect(
            "codegemma",
            psm=("<bos>", "<|fim_prefix|>", _P, "<|fim_suffix|>", _S, "<|fim_middle|>"),
            prefix_only=("<bos>", _P),
        ),
        FimDialect(
            "codestral",
            spm=("<s>", "[SUFFIX]", _S, "[PREFIX]", _P),
            prefix_only=("<s>", _P),
        ),
        FimDialect("none"),
    )
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for the engine."""

    token_ids: list[int]
    order: str
    num_prefix_tokens: int
    num_suffix_tokens: int


class PromptBuilder:
    """Prompts for one tokenizer and dialect.

    All control tokens are looked up when it is made, so a model that lacks one
    fails then (``TokenizerError``) and not while somebody types. ``stop_ids`` are
    the model's stop tokens and every other control token: none may be shown.
    """

    def __init__(
        self,
        tokenizer: CodeTokenizer,
        dialect: FimDialect,
        default_order: str,
        stop_tokens: Sequence[str] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._dialect = dialect
        self._default_order = default_order
        self._control_ids: dict[str, int] = {}
        for template in (dialect.psm, dialect.spm, dialect.prefix_only):
            for part in template or ():
                if isinstance(part, str):
                    self._control_ids[part] = tokenizer.control_id(part)
        self.stop_ids = tokenizer.control_ids | frozenset(
            tokenizer.control_id(token) for token in stop_tokens
        )
        if not self.stop_ids:
            raise TokenizerError(
                "The tokenizer has no control token to stop at.",
                hint="Choose a model whose tokenizer.json names its special tokens.",
            )

    @property
    def orders(self) -> tuple[str, ...]:
        """What this model can be asked with, the default first."""
        default = self._dialect.choose("auto", self._default_order)[0]
        rest = (order for order in self._dialect.orders if order != default)
        return (default, *rest)

    def build(
        self,
        prefix: str,
        suffix: str,
        *,
        order: FimOrder,
        budget_tokens: int,
        prefix_start_line: int = 0,
        psm_suffix_tokens: int = MOST_PSM_SUFFIX_TOKENS,
    ) -> Prompt:
        """Fit ``prefix`` and ``suffix`` into ``budget_tokens`` and assemble them.

        PSM computes the whole suffix again at every key, so it gets no more than
        ``psm_suffix_tokens`` there: what one pass takes.
        """
        name, template = self._dialect.choose(order, self._default_order)
        budget = budget_tokens - sum(isinstance(part, str) for part in template)
        suffix_ids: list[int] = []
        most = budget // 4
        if name == "psm":
            most = min(most, psm_suffix_tokens)
        if Slot.SUFFIX in template:
            suffix_ids = fit_suffix(self._tokenizer, suffix, most)
        # Rounded up, so that a small change of the suffix leaves the prefix's window.
        reserved = min(-(-len(suffix_ids) // 64) * 64, most)
        prefix_ids = fit_prefix(
            self._tokenizer, prefix, budget - reserved, prefix_start_line
        )
        slots = {Slot.PREFIX: prefix_ids, Slot.SUFFIX: suffix_ids}
        token_ids: list[int] = []
        for part in template:
            if isinstance(part, Slot):
                token_ids.extend(slots[part])
            else:
                token_ids.append(self._control_ids[part])
        if not token_ids:
            # An empty file without FIM: a text starts after an end-of-text token.
            token_ids.append(min(self.stop_ids))
        return Prompt(token_ids, name, len(prefix_ids), len(suffix_ids))


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
