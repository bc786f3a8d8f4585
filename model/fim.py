"""Prompts assembled in token ids: other files, suffix and prefix, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.dialects import FimDialect, RepositoryFormat, Slot, Template
from model.errors import TokenizerError
from model.healing import Healing, plan_healing
from model.interface import ContextChunk, FimOrder, PromptPart
from model.tokenizer import CodeTokenizer
from model.windows import fit_prefix, fit_suffix

MOST_PSM_SUFFIX_TOKENS = 512
# Of the budget; the rest is the document's own.
_MOST_CONTEXT_SHARE = 0.5
# A document this short says little of itself; its name says more.
_BARE_CHARACTERS = 60
# What a prompt may begin with before anything else.
_TEXT_STARTS = frozenset(("<s>", "<bos>", "<｜begin▁of▁sentence｜>"))
_KEPT_ENCODINGS = 128


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for the engine; ``healing`` is what it left out of the prefix."""

    token_ids: list[int]
    order: str
    num_prefix_tokens: int
    num_suffix_tokens: int
    parts: tuple[PromptPart, ...] = ()
    healing: Healing | None = None

    def parts_with(self, num_reused: int) -> tuple[PromptPart, ...]:
        """Return the parts, the first ``num_reused`` tokens being reused ones."""
        found = []
        for part in self.parts:
            reused = max(0, min(num_reused, part.num_tokens))
            num_reused -= part.num_tokens
            found.append(
                PromptPart(part.kind, part.num_tokens, reused, part.path, part.source)
            )
        return tuple(found)


class _Draft:
    """Token ids on their way to a prompt, part by part."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.parts: list[PromptPart] = []

    def add(
        self, kind: str, token_ids: Sequence[int], path: str = "", source: str = ""
    ) -> None:
        self.token_ids.extend(token_ids)
        last = self.parts[-1] if self.parts else None
        if last is not None and kind == "control" == last.kind:
            self.parts[-1] = PromptPart(kind, last.num_tokens + len(token_ids))
        elif token_ids:
            self.parts.append(PromptPart(kind, len(token_ids), 0, path, source))


class PromptBuilder:
    """Prompts for one tokenizer and dialect.

    The fill-in-the-middle tokens are looked up when it is made, so a model that
    lacks one fails then (``TokenizerError``) and not while somebody types.
    ``stop_ids`` are the model's stop tokens and every other control token: none may
    be shown.
    ``notes`` say what the tokenizer lacks that prompts can do without.
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
        self._encoded: dict[str, list[int]] = {}
        for template in (dialect.psm, dialect.spm, dialect.prefix_only):
            for part in template or ():
                if isinstance(part, str):
                    self._control_ids[part] = tokenizer.control_id(part)
        self.notes: tuple[str, ...] = ()
        self._form = dialect.repository
        try:
            self._control_ids |= {
                token: tokenizer.control_id(token) for token in self._form.tokens
            }
        except TokenizerError:
            self._form = RepositoryFormat()
            self.notes = (
                "other files: named in comments, since the tokenizer lacks "
                + " or ".join(dialect.repository.tokens),
            )
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
        heal: bool = False,
        context: Sequence[ContextChunk] = (),
        path: str = "",
        repository: str = "",
    ) -> Prompt:
        """Fit everything into ``budget_tokens`` and assemble it.

        Context that does not fit into half of the budget is left out, the first
        chunks first. PSM computes the whole suffix again at every key, so it gets no
        more than ``psm_suffix_tokens`` there: what one pass takes.
        """
        name, template = self._dialect.choose(order, self._default_order)
        budget = budget_tokens - sum(isinstance(part, str) for part in template)
        form = self._form
        if name in form.comment_orders:
            form = RepositoryFormat(heading=form.heading)
        is_bare = len(prefix) + len(suffix) < _BARE_CHARACTERS
        files = self._files(
            form,
            context,
            path if form.titled or is_bare else "",
            repository,
            int(budget * _MOST_CONTEXT_SHARE),
        )
        # Rounded up, so that a small change leaves the other windows where they are.
        budget -= min(_round_up(len(files.token_ids), 128), budget // 2)
        suffix_ids: list[int] = []
        most = budget // 4
        if name == "psm":
            most = min(most, psm_suffix_tokens)
        if Slot.SUFFIX in template:
            suffix_ids = fit_suffix(self._tokenizer, suffix, most)
        prefix_ids = fit_prefix(
            self._tokenizer,
            prefix,
            budget - min(_round_up(len(suffix_ids), 64), most),
            prefix_start_line,
        )
        healing = plan_healing(self._tokenizer, prefix_ids) if heal else None
        if healing is not None:
            prefix_ids = prefix_ids[: -len(healing.token_ids)]
        draft = self._assemble(
            template, form.file is not None, files, prefix_ids, suffix_ids
        )
        if not draft.token_ids:
            # An empty file without FIM: a text starts after an end-of-text token.
            draft.add("control", [min(self.stop_ids)])
        return Prompt(
            draft.token_ids,
            name,
            len(prefix_ids),
            len(suffix_ids),
            tuple(draft.parts),
            healing,
        )

    def _assemble(
        self,
        template: Template,
        in_front: bool,
        files: _Draft,
        prefix_ids: Sequence[int],
        suffix_ids: Sequence[int],
    ) -> _Draft:
        draft = _Draft()
        pending: _Draft | None = files
        for part in template:
            goes_here = part is Slot.PREFIX
            if in_front:
                goes_here = part not in _TEXT_STARTS
            if pending is not None and goes_here:
                draft.token_ids += pending.token_ids
                draft.parts += pending.parts
                pending = None
            if part is Slot.PREFIX:
                draft.add("prefix", prefix_ids)
            elif part is Slot.SUFFIX:
                draft.add("suffix", suffix_ids)
            else:
                assert isinstance(part, str)
                draft.add("control", [self._control_ids[part]])
        return draft

    def _files(
        self,
        form: RepositoryFormat,
        context: Sequence[ContextChunk],
        path: str,
        repository: str,
        budget_tokens: int,
    ) -> _Draft:
        """Return the other files and the document's path, as the model was taught."""
        chunks = [
            (
                one,
                self._heading(form, one.path)
                + self._encode(
                    one.text if one.text.endswith("\n") else one.text + "\n"
                ),
            )
            for one in context
        ]
        title = self._heading(form, path) if path else []
        name: list[int] = []
        if form.repository and repository and (chunks or title):
            name = [
                self._control_ids[form.repository],
                *self._encode(repository + "\n"),
            ]
        room = budget_tokens - len(name) - len(title)
        kept: list[tuple[ContextChunk, list[int]]] = []
        for chunk, token_ids in reversed(chunks):
            room -= len(token_ids)
            if room < 0:
                break
            kept.insert(0, (chunk, token_ids))
        draft = _Draft()
        draft.add("control", name)
        for chunk, token_ids in kept:
            draft.add("context", token_ids, chunk.path, chunk.source)
        draft.add("control", title)
        return draft

    def _heading(self, form: RepositoryFormat, path: str) -> list[int]:
        if form.file is None:
            return self._encode(form.heading.format(path=path))
        return [self._control_ids[form.file], *self._encode(path + "\n")]

    def _encode(self, text: str) -> list[int]:
        """Return the ids of a text that is asked for at every key."""
        if text not in self._encoded:
            if len(self._encoded) >= _KEPT_ENCODINGS:
                self._encoded.clear()
            self._encoded[text] = self._tokenizer.encode(text)
        return self._encoded[text]


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step
