"""The server, but for a while it refuses to say how it is.

A front does the same while the engine that it shares is gone.
"""

import sys
import time
from typing import Any

from lsp_stablecode.cli import main
from lsp_stablecode.session import Session

_REFUSING_S = 3.0

_began_s = time.monotonic()
_describe = Session.describe


def _describe_later(session: Session) -> Any:
    if time.monotonic() - _began_s < _REFUSING_S:
        raise RuntimeError("the engine is gone")
    return _describe(session)


if __name__ == "__main__":
    Session.describe = _describe_later  # type: ignore[method-assign]
    sys.exit(main())
