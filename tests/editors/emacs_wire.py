"""Stands between Emacs and the server, and writes down what each says and when.

``python emacs_wire.py RECORD COMMAND...`` runs the command. A line of the file is a
JSON object: ``time`` in seconds of ``time.perf_counter``, which all processes share
here, ``sender``, and the ``message``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO


def forward(source: IO[bytes], target: IO[bytes], sender: str, record: int) -> None:
    """Hand on message by message until the source ends; then close the target."""
    while True:
        length = 0
        header = b""
        while (line := source.readline()) not in (b"\r\n", b""):
            header += line
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = source.read(length)
        entry = {"time": time.perf_counter(), "sender": sender}
        if not header or len(body) < length:
            break
        # One write, so that no line is broken by another thread's; and written before
        # it is handed on, so that no answer stands before what it answers.
        line = json.dumps(entry)[:-1].encode()
        line += b', "message": ' + body.strip() + b"}\n"
        os.write(record, line)
        try:
            target.write(header + b"\r\n" + body)
            target.flush()
        except BrokenPipeError:
            break
    with contextlib.suppress(BrokenPipeError):
        target.close()


def main() -> int:
    """Run the server until it ends."""
    path, *command = sys.argv[1:]
    record = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
    )
    assert server.stdin is not None
    assert server.stdout is not None
    pairs = [
        (sys.stdin.buffer, server.stdin, "client"),
        (server.stdout, sys.stdout.buffer, "server"),
    ]
    threads = [
        threading.Thread(
            target=forward, args=(source, target, sender, record), daemon=True
        )
        for source, target, sender in pairs
    ]
    for one in threads:
        one.start()
    status = server.wait()
    # What it said last is handed on, too.
    threads[-1].join(5)
    return status


if __name__ == "__main__":
    # A thread may be reading still.
    os._exit(abs(main()))
