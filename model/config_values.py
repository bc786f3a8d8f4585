"""Values of a ``config.json``, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.errors import UnsupportedArchitectureError, WeightsCorruptError


class ConfigValues:
    """Typed access to a configuration; each method raises ``WeightsCorruptError``."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, key: str) -> Any:
        """Return whatever is there, or None."""
        return self._values.get(key)

    def count(
        self,
        key: str,
        default: int | None = None,
        *,
        least: int = 1,
        most: int = 1 << 24,
    ) -> int:
        """Return a whole number from ``least`` to ``most``."""
        value = self._values.get(key)
        value = default if value is None else value
        if type(value) is not int or not least <= value <= most:
            raise wrong(key, value)
        return value

    def positive(self, key: str, most: float = 1.0, least: float = 0.0) -> float:
        """Return a number above zero, from ``least`` to ``most``."""
        value: Any = self._values.get(key)
        if type(value) not in (int, float) or not least <= value <= most or not value:
            raise wrong(key, value)
        return float(value)

    def flag(self, key: str) -> bool:
        """Return a switch, off where it is not set."""
        value = self._values.get(key)
        if value not in (None, True, False):
            raise wrong(key, value)
        return bool(value)


def unsupported(what: str) -> UnsupportedArchitectureError:
    """Return the error for a mechanism that only transformers computes."""
    return UnsupportedArchitectureError(
        f"The native decoder does not support {what}.",
        hint="It runs through transformers instead.",
    )


def wrong(key: str, value: Any) -> WeightsCorruptError:
    """Return the error for a number that no model can have."""
    return WeightsCorruptError(
        f"The model's configuration has {key} = {value!r}.",
        hint="Fetch or convert the model again.",
    )
