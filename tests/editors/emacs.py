"""Emacs in a terminal, driven with keys as its users do."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsp_stablecode.shared.rendezvous import RUNTIME_VARIABLE
from tests.editors.emacs_install import NO_MACHINE_CODE, Installation
from tests.editors.samples import server_command
from tests.editors.terminal import PATIENCE_S, Terminal
from tests.hubs import Hubs

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "editors/emacs/lsp-stablecode.el"
DOCUMENTATION = ROOT / "docs/editors/emacs.md"

# What a terminal sends for these keys.
TAB, RETURN, UNDO, DISMISS, SAVE = "\t", "\r", "\x1f", "\x07", "\x18\x13"
WORD, LINE, NEXT, PREVIOUS = "\x1bf", "\x1be", "\x1bn", "\x1bp"
BUFFER_END, PREFIX = "\x1b>", "\x03+"

ALONE = "(setq lsp-client-packages nil)"
"""Without the servers that lsp-mode knows."""

METHOD = "textDocument/inlineCompletion"
GREY = "brightblack"
"""The face `shadow`, as the emulated terminal draws it."""


def documented_init(heading: str, block: int = 0) -> str:
    """Return a block of Lisp that the page has under a heading."""
    page = DOCUMENTATION.read_text("utf-8")
    section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lisp: str = re.findall("```elisp\n(.*?)```", section, re.S)[block]
    # The clone is here.
    return lisp.replace("~/lsp-stablecode/editors", str(ROOT / "editors"))


@dataclass(frozen=True)
class Buffer:
    """What is before the user: ``ghost`` is the suggestion that is shown."""

    name: str
    text: str
    point: int
    ghost: str

    @property
    def before(self) -> str:
        """The text before point."""
        return self.text[: self.point]

    @property
    def after(self) -> str:
        """The text behind it."""
        return self.text[self.point :]


@dataclass
class Exchange:
    """When something was asked and answered, in seconds of ``time.perf_counter``."""

    asked_s: float
    answered_s: float | None = None


class Emacs:
    """One Emacs in a terminal, whose server's program writes a trace.

    ``init`` is what a user has in ``init.el``, and ``model`` what the server is
    started with; ``settings`` of the user's go before ``init``. ``python`` is run in
    the server before it starts. An engine that is shared, as it is by default, is one
    of ``hubs``.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        init: str,
        model: str = "echo",
        python: str = "",
        settings: str = "",
        file: Path | None = None,
        is_shared: bool = False,
    ) -> None:
        self._installation = installation
        self._numbers = itertools.count(1)
        # Short, for sockets have short names.
        self.home = Path(tempfile.mkdtemp(prefix="emacs-"))
        self.wire_path = self.home / "wire.jsonl"
        self.hubs = Hubs(self.home / "run")
        self._write_program(server_command(model=model), python)
        configuration = self.home / ".emacs.d"
        configuration.mkdir()
        (configuration / "early-init.el").write_text(NO_MACHINE_CODE)
        if not is_shared:
            settings = f"(setq lsp-stablecode-shared-engine nil)\n{settings}"
        (configuration / "init.el").write_text(self._init(init, settings))
        # Ruff is a tool of this project, and a language server, too.
        tools = Path(sys.executable).parent
        path = [self.home / "bin", os.environ["PATH"], tools]
        self._environment = {
            **os.environ,
            "HOME": str(self.home),
            RUNTIME_VARIABLE: str(self.hubs.folder),
            "PATH": ":".join(map(str, path)),
        }
        self.terminal = Terminal(
            [installation.program, "-nw", *([file] if file else [])],
            folder=self.home,
            environment=self._environment,
        )
        self.wait(self._is_listening, "Emacs starts")

    def _write_program(self, command: list[str], python: str) -> None:
        """Put a program of the server's name on the path."""
        if python:
            run = "from lsp_stablecode.__main__ import main; sys.exit(main())"
            module = command.index("-m")
            command[module : module + 2] = ["-c", f"import sys; {python}; {run}"]
        wire = [sys.executable, str(Path(__file__).with_name("emacs_wire.py"))]
        serve = shlex.join([*wire, str(self.wire_path), *command])
        program = self.home / "bin/lsp-stablecode"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = serve ]; then shift; exec {serve} "$@"; fi\n'
            f'exec {shlex.join([sys.executable, "-m", "lsp_stablecode"])} "$@"\n'
        )
        program.chmod(0o755)

    def _init(self, init: str, settings: str) -> str:
        paths = " ".join(json.dumps(str(one)) for one in self._installation.load_path)
        loads = "\n".join(
            f"(load {json.dumps(str(one))} nil t)"
            for one in self._installation.autoloads
        )
        return f"""
(setq load-path (append '({paths}) load-path))
{loads}
(setq server-socket-dir "{self.home}" server-name "s"
      make-backup-files nil auto-save-default nil create-lockfiles nil
      ring-bell-function #'ignore
      lsp-auto-guess-root t)
(require 'server)
(server-start)
{settings}
{init}
"""

    @property
    def pid(self) -> int:
        """Emacs's process."""
        return self.terminal.pid

    def type(self, keys: str) -> None:
        """Send keys as a terminal does."""
        self.terminal.send(keys)

    def command(self, name: str) -> None:
        """Run a command by its name, with keys."""
        self.type(f"\x1bx{name}\r")

    def lisp(self, expression: str) -> Any:
        """Evaluate Lisp in the buffer before the user; return its value as data."""
        done = self._client(
            "(with-current-buffer (window-buffer (selected-window))"
            f" (base64-encode-string (encode-coding-string"
            f" (json-encode {expression}) 'utf-8) t))"
        )
        assert done.returncode == 0, f"{expression}: {done.stderr}{done.stdout}"
        return json.loads(base64.b64decode(done.stdout.strip().strip('"')))

    def _is_listening(self) -> bool:
        return self._client("t").returncode == 0

    def _client(self, lisp: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["emacsclient", "-s", self.home / "s", "--eval", lisp],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return what the server says of itself."""
        # Not by lsp-request: waiting, lsp-mode loses what comes with the answer.
        self.lisp(
            "(progn (setq tests-status nil)"
            ' (lsp-stablecode--execute "lsp-stablecode.status" []'
            "  (lambda (status) (setq tests-status status))) t)"
        )
        self.wait(lambda: self.lisp("tests-status") is not None, "the server's status")
        status: dict[str, Any] = self.lisp("tests-status")
        return status

    def buffer(self) -> Buffer:
        """Return what is before the user."""
        name, text, point, ghost = self.lisp(
            "(save-restriction (widen) (vector (buffer-name)"
            " (buffer-substring-no-properties (point-min) (point-max)) (1- (point))"
            " (mapconcat (lambda (one)"
            '   (let* ((text (or (overlay-get one \'after-string) ""))'
            "          (start (text-property-any 0 (length text) 'face"
            "                  'lsp-stablecode-suggestion text)))"
            '     (if start (substring-no-properties text start) "")))'
            ' (overlays-in (point-min) (point-max)) "")))'
        )
        return Buffer(name, text, point, ghost)

    def open_copy(self, original: Path, text: str | None = None) -> Path:
        """Visit a fresh copy of a file, with point at its end; return its path."""
        path = original.with_stem(f"{original.stem}_{next(self._numbers)}")
        path.write_bytes(original.read_bytes() if text is None else text.encode())
        self.open(path)
        self.type(BUFFER_END)
        self.wait(lambda: self.buffer().after == "", "point is at the end")
        return path

    def open(self, path: Path) -> None:
        """Visit a file and wait until its server is ready."""
        self.lisp(f"(progn (find-file {json.dumps(str(path))}) t)")
        self.wait_ready(path.name)

    def wait_ready(self, name: str) -> None:
        """Wait until suggestions can come in a buffer."""
        is_served = (
            f"(and (equal (buffer-name) {json.dumps(name)})"
            " (bound-and-true-p lsp-stablecode-mode)"
            ' (equal "Normal" (plist-get (gethash (lsp-stablecode--workspace)'
            "  lsp-stablecode--states) :kind)))"
        )
        self.wait(
            lambda: self.lisp(is_served) is True, f"the server is ready in {name}"
        )

    def show(self, *items: tuple[str, int]) -> None:
        """Show suggestions of no server: each a text, and what it covers of the line.

        No server's own come meanwhile, until the test ends.
        """
        before = self.buffer().before
        line, column = before.count("\n"), len(before.rpartition("\n")[2])
        listed = [
            {
                "insertText": text,
                "range": {
                    "start": {"line": line, "character": column},
                    "end": {"line": line, "character": column + num_covered},
                },
            }
            for text, num_covered in items
        ]
        # A text in JSON is one in Lisp, too.
        data = json.dumps(json.dumps(listed, ensure_ascii=False), ensure_ascii=False)
        self.lisp(
            "(progn (setq lsp-stablecode-automatic nil) (lsp-stablecode--cancel)"
            f" (lsp-stablecode--show (append (json-parse-string {data}) nil)) t)"
        )
        self.wait_ghost(items[0][0])

    def wait_ghost(self, ghost: str) -> Buffer:
        """Wait until a suggestion is shown, and return the buffer."""
        found: list[Buffer] = []

        def is_there() -> bool:
            found[:] = [self.buffer()]
            return found[0].ghost == ghost

        self.wait(is_there, f"the suggestion {ghost!r}")
        return found[0]

    def wait_text(self, text: str) -> Buffer:
        """Wait until the whole buffer holds a text."""
        self.wait(lambda: self.buffer().text == text, f"the text {text!r}")
        return self.buffer()

    def type_text(self, keys: str) -> None:
        """Type, and wait until Emacs has taken it in."""
        before = self.buffer().before
        self.type(keys)
        self.wait(lambda: self.buffer().before == before + keys, f"{keys!r} is there")

    def dismiss(self) -> None:
        """Send C-g, and look at nothing but the screen: it would quit an evaluation."""
        shown = self.buffer().ghost.strip().split("\n")[0]
        is_quit = False
        while shown in self.terminal.coloured(GREY) if shown else not is_quit:
            # An evaluation that was not quite over may be what it has quit.
            self.type(DISMISS)
            self.terminal.wait_until(
                lambda: (
                    "Quit" in self.terminal.text
                    or (shown and shown not in self.terminal.coloured(GREY))
                ),
                "C-g is heard",
            )
            is_quit = True

    def settle(self) -> None:
        """Wait until nothing is under way: what has not come now comes no more."""
        self.wait(
            lambda: (
                self.lisp("lsp-stablecode--timer") is None
                and all(one.answered_s is not None for one in self.exchanges())
            ),
            "every request is answered",
        )

    def exchanges(self) -> list[Exchange]:
        """Return the requests for suggestions, the earliest first."""
        exchanges: dict[int, Exchange] = {}
        for one in self.wire():
            identifier = one["message"].get("id")
            if one["message"].get("method") == METHOD:
                exchanges[identifier] = Exchange(one["time"])
            elif one["sender"] == "server" and identifier in exchanges:
                exchanges[identifier].answered_s = one["time"]
        return list(exchanges.values())

    def num_requests(self) -> int:
        """Return how often suggestions were asked for."""
        return len(self.messages(METHOD))

    def wait(
        self, is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S
    ) -> float:
        """Wait until something is so; otherwise show all that a person needs."""
        return self.terminal.wait_until(
            is_so, what, patience_s=patience_s, details=self.report
        )

    def messages(self, method: str, *, sender: str = "client") -> list[Any]:
        """Return the params of a method's messages, the earliest first."""
        return [
            one["message"].get("params")
            for one in self.wire()
            if one["sender"] == sender and one["message"].get("method") == method
        ]

    def wire(self) -> list[dict[str, Any]]:
        """Return all that was said between Emacs and the server."""
        if not self.wire_path.exists():
            return []
        # The last line may be half written.
        lines = self.wire_path.read_text().split("\n")[:-1]
        return [json.loads(one) for one in lines]

    def report(self) -> str:
        """Return the buffer, Emacs's messages and the server's errors."""
        parts = []
        for what in (
            "*Messages*",
            "*lsp-log*",
            "*lsp-stablecode::stderr*",
            "*Warnings*",
        ):
            try:
                text = self.lisp(
                    f"(if (get-buffer {json.dumps(what)}) (with-current-buffer"
                    f" {json.dumps(what)} (buffer-substring-no-properties"
                    ' (max (point-min) (- (point-max) 3000)) (point-max))) "")'
                )
            except (AssertionError, subprocess.TimeoutExpired) as error:
                text = str(error)
            parts.append(f"--- {what}\n{text}")
        return "\n".join(parts)

    def close(self) -> None:
        """Kill Emacs and its servers, and take its files away."""
        self.terminal.close()
        self.hubs.kill()
        shutil.rmtree(self.home, ignore_errors=True)


StartEmacs = Callable[..., Emacs]
"""A fixture that starts one with options, which ends with the test."""
