"""Identifiers and the words that they are made of."""

from __future__ import annotations

import re
from functools import lru_cache

IDENTIFIER = re.compile(r"[^\W\d][\w$]*")


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text between blanks: how this package writes its tables."""
    return frozenset(text.split())


_SUBWORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
COMMON = word_set(
    "a an and as async await be bool boolean break by case catch char class const "
    "continue def default do double elif else end enum err error except export "
    "extends false final finally float fn for from func function get go if impl "
    "implements import in include int interface is it let list local long map mut "
    "namespace new nil none not null number object of on or package pass private "
    "protected pub public raise require return self set static str string struct "
    "super switch that the then this throw throws to true try type undefined union "
    "unsigned use using val var void when where while with yield"
)
"""Words of many languages that say nothing of what a text is about."""


@lru_cache(maxsize=16_384)
def subwords(identifier: str) -> tuple[str, ...]:
    """Split ``parseHTTPHeader_v2`` into ``parse``, ``http``, ``header``, ``v``, ``2``.

    Common words of programs are left out, and a plural's ``s`` is.
    """
    found = (one.lower() for one in _SUBWORD.findall(identifier))
    return tuple(
        one[:-1] if len(one) > 3 and one.endswith("s") and one[-2] != "s" else one
        for one in found
        if len(one) > 1 and one not in COMMON
    )


def identifiers(text: str) -> list[str]:
    """Return the identifiers of a text in their order, comments' words included."""
    return IDENTIFIER.findall(text)


def words_of(text: str) -> list[str]:
    """Return what a text is found by: its identifiers' subwords, and themselves."""
    words: list[str] = []
    for one in IDENTIFIER.findall(text):
        parts = subwords(one)
        words += parts
        if len(parts) > 1:
            words.append(one)
    return words
