"""Lets a folder's files be silent, as those of a network that is gone.

Python imports this by its name where ``PYTHONPATH`` names its folder. As long as the
file ``SILENT_FILES_WHILE`` exists, whoever looks at the folder ``SILENT_FILES`` waits.
"""

import builtins
import os
import time

_FOLDER = os.environ["SILENT_FILES"]
_WHILE = os.environ["SILENT_FILES_WHILE"]
_access = os.access


def _waiting(function):  # type: ignore[no-untyped-def]
    def wait_and_call(path, *arguments, **options):  # type: ignore[no-untyped-def]
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(_FOLDER):
            while _access(_WHILE, os.F_OK):
                time.sleep(0.02)
        return function(path, *arguments, **options)

    return wait_and_call


for _name in ("stat", "lstat", "scandir", "listdir", "readlink"):
    setattr(os, _name, _waiting(getattr(os, _name)))
builtins.open = _waiting(builtins.open)
