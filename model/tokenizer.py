"""Text to token ids and back: user text never becomes a control token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.catalog import CONTROL_TOKENS
from model.errors import TokenizerError
from model.regular_files import MOST_TOKENIZER_BYTES, read_json
from model.tokenizer_errors import naming_damage, unknown_id
from model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_OTHER_HINT = "Fetch the model's tokenizer.json again, or choose another model."


class CodeTokenizer:
    """A ``tokenizer.json`` with two promises about control tokens.

    Every added token that is not white space (``<fim_prefix>``, ``<|endoftext|>`` …)
    is a control token, and so is what some family is known to use as one: ``encode``
    treats its spelling in user text as plain text, and ``control_ids`` lets the engine
    stop on all of them. Runs of blanks that some tokenizers (GPT-NeoX) hold as added
    tokens stay ordinary tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        control_ids: frozenset[int],
        spellings: Mapping[str, int] | None = None,
        *,
        is_byte_level: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self.control_ids = control_ids
        self._spellings = spellings
        self.is_byte_level = is_byte_level

    @classmethod
    def from_file(cls, path: Path) -> CodeTokenizer:
        """Read a ``tokenizer.json``.

        Raises ``TokenizerError`` when there is none, or none that can be used.
        """
        try:
            with naming_damage(
                f"The tokenizer at {path} cannot be read",
                "Fetch the model's tokenizer.json again.",
            ):
                return cls._from_spec(read_json(path, MOST_TOKENIZER_BYTES))
        except TokenizerError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise TokenizerError(
                    f"There is no tokenizer at {path}.",
                    hint="Put the model's tokenizer.json beside its weights.",
                ) from None
            raise

    @classmethod
    def _from_spec(cls, spec: dict[str, Any]) -> CodeTokenizer:
        from tokenizers import Tokenizer

        for token in spec.get("added_tokens") or ():
            # Only tokens marked special can be switched off in user text.
            token["special"] = bool(token["content"].strip())
        spec["truncation"] = spec["padding"] = None
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        tokenizer.encode_special_tokens = True
        # The numbers in the file are only what it thinks they are.
        added = tokenizer.get_added_tokens_decoder()
        known = (tokenizer.token_to_id(token) for token in CONTROL_TOKENS)
        control_ids = {one for one in known if one is not None}
        control_ids |= {one for one, token in added.items() if token.content.strip()}
        vocabulary = spec["model"].get("vocab")
        return cls(
            tokenizer,
            frozenset(control_ids),
            # Read here already; asking the tokenizer for it takes as long again.
            vocabulary if isinstance(vocabulary, dict) else None,
            is_byte_level="ByteLevel" in json.dumps(spec.get("decoder")),
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """All tokens but the control tokens, by their bytes."""
        spell = _byte_level if self.is_byte_level else _sentence_piece
        tokens, self._spellings = self._spellings or self._tokenizer.get_vocab(), None
        spellings = {one: spell(token) for token, one in tokens.items()}
        for token_id, token in self._tokenizer.get_added_tokens_decoder().items():
            spellings[token_id] = token.content.encode()
        for token_id in self.control_ids:
            spellings.pop(token_id, None)
        return Vocabulary(spellings)

    def check_ids(self, vocab_size: int) -> None:
        """Raise ``TokenizerError`` if texts may become ids that a model knows not.

        Control tokens may be more: who uses one has asked for it by its spelling.
        """
        spellings = self._spellings or self._tokenizer.get_vocab()
        if max(spellings.values(), default=0) < vocab_size:
            return
        most = max(set(spellings.values()) - self.control_ids, default=0)
        if most >= vocab_size:
            raise unknown_id(most, vocab_size)

    def control_id(self, token: str) -> int:
        """Return the id of a control token by its spelling.

        Raises ``TokenizerError`` unless it is exactly one token.
        """
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise TokenizerError(
                f"The tokenizer has no control token {token!r}.",
                hint="The model does not match its fill-in-the-middle format; "
                "choose another model.",
            )
        return token_id

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text`` without any control token.

        Raises ``TokenizerError`` where the tokenizer has none for it.
        """
        return [one for _, encoding in self._plain(text) for one in encoding.ids]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids and, for each, where its text starts in characters."""
        token_ids: list[int] = []
        starts: list[int] = []
        for begin, encoding in self._plain(text):
            token_ids += encoding.ids
            starts += [begin + start for start, _ in encoding.offsets]
        return token_ids, starts

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of ``token_ids``, control tokens spelled out.

        Raises ``TokenizerError`` where that cannot be said.
        """
        with naming_damage("The model's tokenizer cannot spell a text", _OTHER_HINT):
            return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)

    def _plain(self, text: str) -> Iterator[tuple[int, Encoding]]:
        """Encode a text without control tokens: parts, and where each begins."""
        pending = [(0, _scalar(text))]
        while pending:
            begin, part = pending.pop()
            with naming_damage("The model's tokenizer cannot read a text", _OTHER_HINT):
                encoding = self._tokenizer.encode(part, add_special_tokens=False)
            if self.control_ids.isdisjoint(encoding.ids):
                yield begin, encoding
            else:
                # Some vocabularies hold the spelling among the words of texts.
                parts = _cut_within(part, encoding, self.control_ids)
                pending += [(begin + start, one) for start, one in reversed(parts)]


def _cut_within(
    text: str, encoding: Encoding, control_ids: frozenset[int]
) -> list[tuple[int, str]]:
    """Cut a text after the first character of each control token.

    Return the parts and where they begin. A character that is one by itself is left
    out: there is no other way to say it.
    """
    cuts, lost = {0, len(text)}, set()
    for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if token_id in control_ids:
            first = max(0, min(start, len(text) - 1))
            cuts |= {first, first + 1}
            if end - first <= 1:
                lost.add(first)
    return [
        (start, text[start:end])
        for start, end in pairwise(sorted(cuts))
        if start not in lost
    ]


class StreamingDecoder:
    """Token ids in, whole characters out.

    A character may be spread over several tokens; it comes out with its last one.
    ``context_ids`` are the prompt's last ids: some decoders join a word to the one
    before it differently than at the start of a text. The two-offset method is the
    one vLLM and text-generation-inference use.
    """

    def __init__(self, tokenizer: CodeTokenizer, context_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._token_ids = [
            token for token in context_ids[-4:] if token not in tokenizer.control_ids
        ]
        self._window_start = 0
        self._read_to = len(self._token_ids)

    def push(self, token_id: int) -> str:
        """Add one token; return the characters it completed, perhaps none."""
        self._token_ids.append(token_id)
        before = self._tokenizer.decode(
            self._token_ids[self._window_start : self._read_to]
        )
        after = self._tokenizer.decode(self._token_ids[self._window_start :])
        if after.endswith(REPLACEMENT) or len(after) <= len(before):
            return ""
        self._window_start = self._read_to
        self._read_to = len(self._token_ids)
        return after[len(before) :]


def _byte_level_alphabet() -> dict[int, int]:
    """Return GPT-2's alphabet: which character stands for which byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {byte: byte for byte in printable}
    alphabet |= {256 + number: byte for number, byte in enumerate(others)}
    return alphabet


_ALPHABET = _byte_level_alphabet()


def _byte_level(token: str) -> bytes:
    """Return the bytes of a token in GPT-2's alphabet; none where it is not in it."""
    plain = token.replace("\u0120", " ")
    if plain.isascii():
        return plain.encode()
    try:
        return token.translate(_ALPHABET).encode("latin-1")
    except UnicodeEncodeError:
        return b""


def _sentence_piece(token: str) -> bytes:
    """Return the bytes of a SentencePiece token."""
    if match := re.fullmatch("<0x([0-9A-Fa-f]{2})>", token):
        return bytes([int(match[1], 16)])
    return token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()


def _scalar(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
