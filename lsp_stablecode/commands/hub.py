"""``hub``: the engine process that ``serve --shared`` starts for all editors."""

from __future__ import annotations

import argparse

from lsp_stablecode import __version__
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.settings import Settings


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve fronts until none has been there for a while."""
    from lsp_stablecode.shared.rendezvous import Rendezvous

    if options.version not in ("", __version__):
        raise SettingsError(
            f"The editor's process is of version {options.version}, and this is "
            f"{__version__}.",
            hint="Start the editor again.",
        )
    rendezvous = Rendezvous(options.key, name=options.name)
    # Before what takes long to import: there may be one already.
    lock = rendezvous.lock()
    if lock is None:
        return 0
    with lock:
        from lsp_stablecode.shared.hub import serve_fronts

        return serve_fronts(rendezvous, options.linger)
