"""``hub``: the engine process that ``serve --shared`` starts for all editors."""

from __future__ import annotations

import argparse
import os

from lsp_stablecode.settings import Settings


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve fronts until none has been there for a while."""
    from lsp_stablecode.shared.rendezvous import Rendezvous, runtime_folder

    os.environ["LSP_STABLECODE_RUNTIME"] = options.folder
    rendezvous = Rendezvous(options.key, runtime_folder())
    # Before what takes long to import: there may be one already.
    lock = rendezvous.lock()
    if lock is None:
        return 0
    with lock:
        from lsp_stablecode.shared.hub import serve_fronts

        return serve_fronts(rendezvous, options.linger)
