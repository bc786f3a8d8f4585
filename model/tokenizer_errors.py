"""What the tokenizers package raises, in our own words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def check_token_ids(token_ids: Sequence[int], vocab_size: int) -> None:
    """Raise ``TokenizerError`` for an id that a model knows not.

    Beyond the embedding lie other numbers, or nothing.
    """
    if min(token_ids) < 0 or max(token_ids) >= vocab_size:
        raise unknown_id(max(token_ids), vocab_size)


def unknown_id(token_id: int, vocab_size: int) -> TokenizerError:
    """Return the error for a tokenizer that is another model's."""
    return TokenizerError(
        f"The tokenizer has the id {token_id:,}, and the model knows {vocab_size:,}.",
        hint="Put the model's own tokenizer.json beside its weights.",
    )
