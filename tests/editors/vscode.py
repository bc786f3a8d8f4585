"""One VS Code: its server, its window in a browser, and a test's hands in both."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from tests.editors.vscode_install import CODE_SERVER, Tools

DRIVER: Final = Path(__file__).parent / "vscode-driver"
NAME: Final = f"VS Code {CODE_SERVER.removeprefix('4.')}"
PATIENCE_S: Final = 60.0
SETTINGS: Final[Mapping[str, Any]] = {
    "chat.disableAIFeatures": True,
    "workbench.startupEditor": "none",
    "workbench.colorTheme": "Default Dark Modern",
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "editor.cursorBlinking": "solid",
    "workbench.reduceMotion": "on",
    "editor.minimap.enabled": False,
    "git.enabled": False,
    "security.workspace.trust.startupPrompt": "never",
    "files.autoSave": "off",
    # The menu of words changes what is suggested; a test asks for it by hand.
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
}
_UNTIL_INPUT_ENDS: Final = (
    "sh",
    "-c",
    '"$@" </dev/null >&2 & cat >/dev/null; kill $!; wait $!',
    "sh",
)
_GLANCE_S: Final = 0.03
_ANSWER_S: Final = 2.0
_STATUS: Final = '[id="lsp-stablecode.lsp-stablecode.lsp-stablecode.status"]'


class Hand:
    """Runs JavaScript somewhere else, one piece after the other."""

    def __init__(self, send: Any, receive: Any) -> None:
        self._send = send
        self._receive = receive
        self._count = 0

    def __call__(self, code: str, **args: Any) -> Any:
        """Run the body of an async function, which may use ``args``."""
        self._count += 1
        request = {"id": self._count, "code": code, "args": args}
        self._send.write(json.dumps(request) + "\n")
        self._send.flush()
        while True:
            line = self._receive.readline()
            if not line:
                raise AssertionError(f"nobody is there to run: {code}")
            answer = json.loads(line)
            if answer["id"] == self._count:
                break
        if "error" in answer:
            raise AssertionError(f"{answer['error']}\n  in: {code}")
        return answer["result"]


class VSCode:
    """A running VS Code with one window.

    ``code`` runs JavaScript in the extensions' process, with ``vscode`` at hand, and
    ``browser`` beside the window, with Playwright's ``page``.
    """

    code: Hand
    browser: Hand

    def __init__(self, tools: Tools, folder: Path, project: Path) -> None:
        self.folder = folder
        self.project = project
        self._tools = tools
        self._processes: list[subprocess.Popen[Any]] = []
        self._socket: socket.socket | None = None
        self._settings: dict[str, Any] = {}
        self._port = _free_port()
        self._log = folder / "code-server.log"
        self.user_data = folder / "user"
        self._extensions = folder / "extensions"

    def install(self, vsix: Path) -> None:
        """Install an extension from its package."""
        done = subprocess.run(
            [*self._command(), "--install-extension", str(vsix), "--force"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(
        self,
        settings: Mapping[str, Any],
        *,
        trusted: bool = True,
        workspace: Path | None = None,
        **variables: str,
    ) -> None:
        """Start it with these settings and wait for the window with the project.

        It is started in the project's folder, as by ``code .``; ``workspace`` is a
        file that names several folders.
        """
        self.install(packed(DRIVER, self.folder))
        # A remote VS Code, which this one is, reads a machine's settings elsewhere.
        for place, values in (("User", SETTINGS), ("Machine", settings)):
            path = self.user_data / place / "settings.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dict(values)))
        self._spawn(
            [
                *_UNTIL_INPUT_ENDS,
                *self._command(),
                f"--bind-addr=127.0.0.1:{self._port}",
                *(["--disable-workspace-trust"] if trusted else []),
            ],
            {**self._environment(), **variables},
            self.project,
        )
        _wait(self._answers, "code-server's port")
        browser = self._spawn(
            [
                self._tools.node,
                DRIVER / "browser.cjs",
                self._tools.playwright,
                self._tools.browser,
            ],
            self._tools.environment,
        )
        self.browser = Hand(browser.stdin, browser.stdout)
        self.browser(
            "await page.goto(args.url);"
            "await page.waitForSelector('.monaco-workbench');",
            url=f"http://127.0.0.1:{self._port}/?"
            + (f"workspace={workspace}" if workspace else f"folder={self.project}"),
        )
        self.code = self._hand_of_the_driver()
        self._settings = self._settings_set()
        for bar in ("AuxiliaryBar", "Sidebar"):
            self.command(f"workbench.action.close{bar}")

    def reload(self) -> None:
        """Close the window and open it again, with another process of extensions."""
        number = "return process.pid;"
        before = self.code(number)
        assert self._socket is not None
        with contextlib.suppress(AssertionError, OSError):
            self.command("workbench.action.reloadWindow")

        def is_another() -> bool:
            with contextlib.suppress(AssertionError, OSError):
                self._socket.close()
                self.code = self._hand_of_the_driver()
                return bool(self.code(number) != before)
            return False

        _wait(is_another, "another process of the extensions")

    def stop(self) -> None:
        """End every process."""
        if self._socket is not None:
            self._socket.close()
        for process in reversed(self._processes):
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    # --- what a user does ----------------------------------------------------

    def open(self, name: str, line: int = -1, character: int = -1) -> Path:
        """Open a file of the project with the cursor there; -1 is the end."""
        path = self.project / name
        self.code(
            """
            const document = await vscode.workspace.openTextDocument(args.path);
            const line = args.line < 0 ? document.lineCount - 1 : args.line;
            const end = document.lineAt(line).range.end.character;
            const character = args.character < 0 ? end : args.character;
            // Set as an editor's property it would arrive at the window later.
            const selection = new vscode.Selection(line, character, line, character);
            const options = { preview: false, selection };
            await vscode.window.showTextDocument(document, options);
            """,
            path=str(path),
            line=line,
            character=character,
        )
        self.wait_for_editor()
        return path

    def wait_for_editor(self) -> None:
        """Wait until an editor has the focus, and VS Code has finished making it."""

        def has_focus() -> bool:
            return bool(self.browser("return await page.evaluate('seen.hasFocus()');"))

        self.wait(has_focus, "the editor's focus")
        # Before, it would not notice that something is typed.
        self.browser("await page.evaluate('seen.idle()');")

    def type(self, text: str, gap_ms: float = 0) -> None:
        """Press the keys of a text, one after the other."""
        self.browser(
            "await page.keyboard.type(args.text, { delay: args.gap });",
            text=text,
            gap=gap_ms,
        )

    def press(self, *keys: str) -> None:
        """Press keys, each with its modifiers, such as ``Control+Z``."""
        for key in keys:
            self.browser("await page.keyboard.press(args.key);", key=key)

    def command(self, name: str, *args: Any) -> Any:
        """Run a command as if it were chosen in the palette."""
        return self.code(
            "return await vscode.commands.executeCommand(args.name, ...args.rest);",
            name=name,
            rest=args,
        )

    def save(self) -> bytes:
        """Save the file and return what is on the disk."""
        path = self.code(
            """
            const { document } = vscode.window.activeTextEditor;
            if (!(await document.save())) throw new Error("not saved");
            return document.uri.fsPath;
            """
        )
        return Path(path).read_bytes()

    def set(self, section: str = "lsp-stablecode", **settings: Any) -> None:
        """Write settings for the user; ``None`` takes one away."""
        self.code(
            """
            const configuration = vscode.workspace.getConfiguration(args.section);
            for (const [key, value] of Object.entries(args.settings)) {
              const target = vscode.ConfigurationTarget.Global;
              await configuration.update(key, value ?? undefined, target);
            }
            """,
            section=section,
            settings=settings,
        )

    def forget(self) -> None:
        """Close what is open, and set the extension's settings back."""
        self.press("Escape", "Escape")
        self.code(
            """
            const close = "workbench.action.revertAndCloseActiveEditor";
            const open = () => vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs);
            for (let left = open().length; left > 0; left--) {
              await vscode.commands.executeCommand(close);
            }
            // What stands in another group is not dirty.
            await vscode.window.tabGroups.close(open());
            if (open().length > 0) throw new Error("something stays open");
            await vscode.commands.executeCommand("notifications.clearAll");
            """
        )
        now = self._settings_set()
        changed = {
            key: self._settings.get(key)
            for key in now.keys() | self._settings.keys()
            if now.get(key) != self._settings.get(key)
        }
        self.set(**changed)

    def _settings_set(self) -> dict[str, Any]:
        """Return those of the extension's settings that the user has set."""
        return dict(
            self.code(
                """
                const ours = vscode.workspace.getConfiguration("lsp-stablecode");
                const set = {};
                for (const key of Object.keys(ours)) {
                  const value = ours.inspect(key)?.globalValue;
                  if (value !== undefined) set[key] = value;
                }
                return set;
                """
            )
        )

    def click_status(self) -> None:
        """Click on our item in the status bar."""
        self.browser(f"await page.locator({_STATUS!r}).click();")

    def choose(self, label: str) -> None:
        """Choose an entry of the list that is open."""
        self.wait(lambda: any(label in one for one in self.choices), f"{label!r}")
        self.browser(
            "await page.locator('.quick-input-list .monaco-list-row')"
            ".filter({ hasText: args.label }).first().click();",
            label=label,
        )

    # --- what a user sees ------------------------------------------------------

    @property
    def text(self) -> str:
        """The document in the active editor."""
        return str(
            self.code("return vscode.window.activeTextEditor.document.getText();")
        )

    @property
    def line(self) -> str:
        """The text of the cursor's line."""
        return str(
            self.code(
                """
                const { document, selection } = vscode.window.activeTextEditor;
                return document.lineAt(selection.active.line).text;
                """
            )
        )

    @property
    def ghost(self) -> str:
        """The ghost text on the screen."""
        return str(self.browser("return await page.evaluate('seen.ghost()');"))

    @property
    def status(self) -> str:
        """The text of our status bar item."""
        return str(
            self.browser(
                f"const item = page.locator({_STATUS!r});"
                "return (await item.count()) ? await item.innerText() : '';"
            )
        ).strip()

    @property
    def status_icon(self) -> str:
        """The name of the icon in our status bar item."""
        classes = self.browser(
            f"const icon = page.locator({_STATUS!r} + ' .codicon');"
            "return await icon.getAttribute('class');"
        )
        return next(
            name.removeprefix("codicon-")
            for name in classes.split()
            if name.startswith("codicon-")
        )

    @property
    def choices(self) -> list[str]:
        """The entries of the list that is open."""
        return list(
            self.browser(
                "return await page.locator('.quick-input-list .monaco-list-row')"
                ".allInnerTexts();"
            )
        )

    def press_button(self, label: str) -> None:
        """Press a button of a message."""
        self.browser(
            "const label = { hasText: args.label };"
            "const buttons = '.notification-list-item .monaco-button';"
            "await page.locator(buttons).filter(label).first().click();",
            label=label,
        )

    @property
    def popup(self) -> list[str]:
        """The entries of the completion menu."""
        return list(
            self.browser(
                "return await page.locator('.suggest-widget.visible .monaco-list-row')"
                ".allInnerTexts();"
            )
        )

    @property
    def notifications(self) -> list[str]:
        """The messages on the screen."""
        return list(
            self.browser(
                "return await page.locator('.notification-list-item-message')"
                ".allInnerTexts();"
            )
        )

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return the condition's value once it is true."""
        try:
            return _wait(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None

    def wait_for_ghost(self, text: str) -> None:
        """Wait until exactly this ghost text is on the screen."""
        self.wait(lambda: self.ghost == text, f"the ghost text {text!r}")

    def ask_for_ghost(self, text: str) -> None:
        """Ask by hand, again and again, until this ghost text is on the screen."""

        def ask() -> bool:
            self.command("editor.action.inlineSuggest.trigger")
            # Asked sooner again, it would never be answered.
            end = time.monotonic() + _ANSWER_S
            while time.monotonic() < end:
                if self.ghost == text:
                    return True
                time.sleep(_GLANCE_S)
            return False

        self.wait(ask, f"the ghost text {text!r}")

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded."""
        self.wait(lambda: "·" in self.status, "a model in the status bar")

    def picture(self, path: Path) -> None:
        """Write a picture of the window."""
        self.browser("await page.screenshot({ path: args.path });", path=str(path))

    def report(self) -> str:
        """Say what a person needs to know when a test fails."""
        told = []
        for name in ("ghost", "line", "status", "notifications"):
            try:
                told.append(f"{name}: {getattr(self, name)!r}")
            except AssertionError as error:
                told.append(f"{name}: {error}")
        return "\n".join([*told, self.server_log()[-4000:]])

    def server_log(self) -> str:
        """Return what the extension's log holds."""
        logs = sorted(self.user_data.glob("logs/**/*lsp-stablecode*.log"))
        return "\n".join(path.read_text(errors="replace") for path in logs)

    def processes(self) -> list[psutil.Process]:
        """Return what runs because of this VS Code."""
        return [
            child
            for one in self._processes
            if one.poll() is None
            for child in psutil.Process(one.pid).children(recursive=True)
        ]

    # --- processes ---------------------------------------------------------------

    def _command(self) -> list[str]:
        return [
            str(self._tools.node),
            str(self._tools.code_server / "out" / "node" / "entry.js"),
            "--auth=none",
            "--disable-telemetry",
            "--disable-update-check",
            "--disable-getting-started-override",
            "--user-data-dir",
            str(self.user_data),
            "--extensions-dir",
            str(self._extensions),
        ]

    def _environment(self) -> dict[str, str]:
        return {
            **self._tools.environment,
            # The user's own configuration of code-server is not ours to read.
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "VSCODE_DRIVER_SOCKET": str(self.folder / "driver"),
        }

    def _spawn(
        self,
        command: list[Any],
        environment: Mapping[str, str],
        folder: Path | None = None,
    ) -> subprocess.Popen[Any]:
        """Start what ends with its standard input: when we end, however that is."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), 1).close()
            return True
        return False

    def _hand_of_the_driver(self) -> Hand:
        def connect() -> socket.socket | None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.folder / "driver"))
            except OSError:
                connection.close()
                return None
            return connection

        self._socket = _wait(connect, "the driver in VS Code")
        assert self._socket is not None
        return Hand(self._socket.makefile("w"), self._socket.makefile("r"))


def packed(extension: Path, folder: Path) -> Path:
    """Pack an extension's files, which is simply a ZIP file of them."""
    vsix = folder / f"{extension.name}.vsix"
    with zipfile.ZipFile(vsix, "w") as package:
        for path in extension.iterdir():
            package.write(path, f"extension/{path.name}")
    return vsix


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(
    condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S
) -> Any:
    end = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience_s:.0f} s in vain for {what}")
        time.sleep(_GLANCE_S)
    return value
