"""Days of somebody's typing in minutes, and what the server's memory does meanwhile.

Run as a program it prints the curve::

    python tests/soaking.py --model starter --edits 100000 --completions 10000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from lsp_stablecode.client.connection import Connection, ServerFailedError
from lsp_stablecode.client.editor import Buffer, Editor

_SAMPLES = (
    ("python", "py", "def area(w, h):\n    return w * h\n\n\nclass Ring:\n    n = 3\n"),
    ("c", "c", "#include <stdio.h>\n\nint main(void) {\n    return 0;\n}\n"),
    ("javascript", "js", "const a = [1, 2];\nfunction f(x) {\n  return a[x];\n}\n"),
    ("markdown", "md", "# Title\n\nSome text with é and 😀 in it.\n"),
)
_LINES = (
    "value = area(width, height)",
    "for i in range(len(values)):",
    "    print(values[i], 'é😀')",
    "if (a && b) { return f(a, b); }",
    "# what it does, and why",
    "",
    "    result.append({'name': name})",
)
_MOST_CHARACTERS = 6000
_NUM_OPEN = 8


@dataclass(frozen=True)
class Sample:
    """The server's memory after so much work, in bytes."""

    num_edits: int
    num_completions: int
    rss_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.num_edits:8,} edits {self.num_completions:7,} completions "
            f"{self.rss_bytes / 2**20:8.1f} MiB {self.seconds:7.0f} s"
        )


@dataclass
class Soak:
    """One editor that types for days. A completion comes with every so many edits."""

    editor: Editor
    folder: Path
    edits_per_completion: int
    random: random.Random
    num_edits: int = 0
    num_completions: int = 0
    num_opened: int = 0

    async def work(self, num_edits: int) -> None:
        """Type, ask, accept, open and close, until so many edits were made."""
        buffers = [self._open() for _ in range(_NUM_OPEN)]
        while self.num_edits < num_edits:
            buffer = self.random.choice(buffers)
            for key in self._keys():
                self._type(buffer, key)
                if self.num_edits % self.edits_per_completion == 0:
                    await self._complete(buffer)
            if len(buffer.text) > _MOST_CHARACTERS:
                self._replace(buffer, 0, len(buffer.text), "x = 1\n")
            if self.random.random() < 0.1:
                buffers.remove(buffer)
                self.editor.close(buffer)
                buffers.append(self._open())
            # Else what was sent, and not yet read, would pile up in the pipe.
            await self.editor.connection.command("status")
        for buffer in buffers:
            self.editor.close(buffer)
        await self.editor.connection.command("status")

    def _open(self) -> Buffer:
        self.num_opened += 1
        language, suffix, text = self.random.choice(_SAMPLES)
        path = self.folder / f"file{self.num_opened}.{suffix}"
        buffer = self.editor.open_text(path.as_uri(), language, text * 3)
        buffer.cursor = len(buffer.text)
        return buffer

    def _keys(self) -> Iterator[str]:
        line = self.random.choice(_LINES) + "\n"
        for character in line:
            yield character
            if self.random.random() < 0.05:
                yield "\b"

    def _type(self, buffer: Buffer, key: str) -> None:
        if key != "\b":
            self._replace(buffer, buffer.cursor, buffer.cursor, key)
        elif buffer.cursor:
            self._replace(buffer, buffer.cursor - 1, buffer.cursor, "")

    def _replace(self, buffer: Buffer, start: int, end: int, text: str) -> None:
        self.editor.replace(buffer, start, end, text)
        self.num_edits += 1

    async def _complete(self, buffer: Buffer) -> None:
        self.num_completions += 1
        kind = self.random.random()
        if kind < 0.1:
            await self.editor.suggest_and_cancel(buffer, 0.002)
            return
        answer = await self.editor.suggest(buffer, explicit=kind < 0.2)
        if answer.ghosts and self.random.random() < 0.3:
            await self.editor.accept(buffer, answer.ghosts[0])
            self.num_edits += 1


async def soak(
    model: str,
    num_edits: int,
    num_completions: int,
    *,
    sample_every: int,
    seed: int = 0,
) -> AsyncIterator[Sample]:
    """Let one editor work on a server of its own; yield the server's memory.

    ``sample_every`` counts completions.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        connection = Connection(folder, settings={"maxNewTokens": 8, "debounceMs": 0})
        try:
            await connection.start(["--model", model])
            while (await connection.model_state(0.2))["state"] != "ready":
                pass
            assert connection._client._server is not None
            process = psutil.Process(connection._client._server.pid)
            one = Soak(
                Editor(connection),
                folder,
                max(1, num_edits // num_completions),
                random.Random(seed),
            )
            started = time.perf_counter()
            while one.num_edits < num_edits:
                done = one.num_completions + sample_every
                await one.work(min(num_edits, done * one.edits_per_completion))
                yield Sample(
                    one.num_edits,
                    one.num_completions,
                    process.memory_info().rss,
                    time.perf_counter() - started,
                )
        finally:
            await connection.stop()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="echo")
    parser.add_argument("--edits", type=int, default=100_000)
    parser.add_argument("--completions", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=500)
    options = parser.parse_args()
    async for one in soak(
        options.model, options.edits, options.completions, sample_every=options.every
    ):
        print(one, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, ServerFailedError):
        asyncio.run(main())
