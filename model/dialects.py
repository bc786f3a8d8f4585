"""How families of models were taught to fill in the middle, as data.

Orders after Bavarian et al., "Efficient Training of Language Models to Fill in the
Middle" (arXiv:2207.14255): PSM puts the prefix first, SPM the suffix. In SPM's
variant with all markers in front (``<prefix><suffix>S<middle>P``) everything stays
cached while the user types, because the prompt grows only at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from model.interface import FimOrder


class Slot(Enum):
    """Where the user's text goes in a template."""

    PREFIX = "prefix"
    SUFFIX = "suffix"


Template = tuple[str | Slot, ...]
"""Control tokens by spelling, with slots for the user's text."""


@dataclass(frozen=True, slots=True)
class RepositoryFormat:
    """How a model was shown several files of one repository.

    ``repository`` and ``file`` are control tokens that go before the repository's
    name and before each file's path. Without a ``file`` token the path stands in a
    line of its own, which ``heading`` makes, and the files at the prefix's beginning;
    so they do in ``comment_orders``, tokens or not. ``titled`` says that the document's
    own path stands before it; else only a document that says nothing itself has one.
    """

    repository: str | None = None
    file: str | None = None
    heading: str = "# {path}\n"
    titled: bool = False
    comment_orders: tuple[str, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The control tokens by spelling."""
        return tuple(one for one in (self.repository, self.file) if one)


_COMMENTS = RepositoryFormat()

_P, _S = Slot.PREFIX, Slot.SUFFIX


@dataclass(frozen=True, slots=True)
class FimDialect:
    """How one family of models was taught to fill in the middle."""

    name: str
    psm: Template | None = None
    spm: Template | None = None
    prefix_only: Template = (_P,)
    repository: RepositoryFormat = _COMMENTS

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
        FimDialect(
            "starcoder",
            _BIGCODE_PSM,
            _BIGCODE_SPM,
            repository=RepositoryFormat("<reponame>", "<filename>", titled=True),
        ),
        FimDialect("stable-code", _BIGCODE_PSM, _BIGCODE_SPM),
        # The tokenizer has the tokens, but nothing says the model was taught them.
        FimDialect("stablecode-alpha"),
        FimDialect(
            "starcoder2",
            _BIGCODE_PSM,
            _BIGCODE_SPM,
            repository=RepositoryFormat("<repo_name>", "<file_sep>", titled=True),
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
            repository=RepositoryFormat(heading="#{path}\n", titled=True),
        ),
        FimDialect(
            "qwen2.5-coder",
            psm=("<|fim_prefix|>", _P, "<|fim_suffix|>", _S, "<|fim_middle|>"),
            spm=("<|fim_prefix|>", "<|fim_suffix|>", _S, "<|fim_middle|>", _P),
            # Measured on the starter (docs/evaluation.md): the repository's name and
            # the document's path cost it right lines, and in PSM the tokens do too.
            repository=RepositoryFormat(
                file="<|file_sep|>", comment_orders=("psm", "prefix-only")
            ),
        ),
        FimDialect(
            "codegemma",
            psm=("<bos>", "<|fim_prefix|>", _P, "<|fim_suffix|>", _S, "<|fim_middle|>"),
            prefix_only=("<bos>", _P),
            repository=RepositoryFormat(file="<|file_separator|>", titled=True),
        ),
        FimDialect(
            "codestral",
            spm=("<s>", "[SUFFIX]", _S, "[PREFIX]", _P),
            prefix_only=("<s>", _P),
            repository=RepositoryFormat(heading="+++++ {path}\n", titled=True),
        ),
        FimDialect("none"),
    )
}
