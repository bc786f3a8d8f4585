"""The schema admits what the server takes, and nothing that it would report."""

from __future__ import annotations

import math
from typing import Any

import jsonschema
import pytest
from test_settings import BAD, GOOD

from lsp_stablecode.settings import DEFAULTS, SETTINGS, to_wire
from lsp_stablecode.settings_schema import settings_schema

VALIDATOR = jsonschema.Draft7Validator(settings_schema())


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(settings_schema())


def test_the_defaults_are_admitted() -> None:
    assert VALIDATOR.is_valid(to_wire(DEFAULTS))


def test_every_setting_is_described() -> None:
    properties = settings_schema()["properties"]
    assert list(properties) == [one.key for one in SETTINGS.values()]
    for one in properties.values():
        assert one["description"].endswith(".")
        assert "`" not in one["description"]


@pytest.mark.parametrize(("key", "sent"), [(key, sent) for key, sent, _ in GOOD])
def test_what_the_server_takes_is_admitted(key: str, sent: Any) -> None:
    assert VALIDATOR.is_valid({key: sent})


# What no schema can say, or no editor can send: NaN and infinity, text that UTF-8
# cannot carry, texts with a NUL.
_NOT_SAID = {"a\0b", "\ud800", "cuda:1\n"}


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        (key, sent)
        for key, values in BAD.items()
        for sent in values
        if not (isinstance(sent, str) and sent in _NOT_SAID)
        and not (isinstance(sent, float) and not math.isfinite(sent))
    ],
)
def test_what_the_server_reports_is_refused(key: str, sent: Any) -> None:
    assert not VALIDATOR.is_valid({key: sent})


def test_an_unknown_key_is_refused() -> None:
    assert not VALIDATOR.is_valid({"models": "auto"})
