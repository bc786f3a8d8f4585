"""What the tokenizers package raises, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from model.errors import StablecodeError, TokenizerError


@contextmanager
def naming_damage(what: str, hint: str) -> Iterator[None]:
    """Turn whatever tokenizers raises into ``TokenizerError``.

    For bad content that is a bare Exception, and where it finds a slip of its own one
    that is none.
    """
    try:
        yield
    except StablecodeError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise TokenizerError(f"{what} ({said}).", hint=hint) from error


def _is_panic(error: BaseException) -> bool:
    # The class can be had from no module.
    return type(error).__name__ == "PanicException"
