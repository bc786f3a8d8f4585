"""How the extension comes by its server, in a real VS Code that has none at first."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.editors.installing import NotInstallableError
from tests.editors.samples import make_project
from tests.editors.vscode import NAME, VSCode, packed
from tests.editors.vscode_install import packaged_extension

pytestmark = pytest.mark.editor

REST = "ze = width * height"
STAND_IN = Path(__file__).parent / "editors" / "vscode-python"
SETTINGS = {
    "lsp-stablecode.model": "echo",
    "lsp-stablecode.python": sys.executable,
    # An engine that is shared outlives its editors for a minute.
    "lsp-stablecode.sharedEngine": False,
}
Start = Callable[..., VSCode]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start VS Code where no server is on the PATH or at home."""
    windows = []
    try:
        tools, vsix = packaged_extension()
    except NotInstallableError as error:
        pytest.skip(f"{NAME}: {error}")

    def start_one(*others: Path, trusted: bool, **variables: str) -> VSCode:
        window = VSCode(tools, tmp_path, tmp_path / "ein Projekt mit ü")
        windows.append(window)
        for package in (vsix, *others):
            window.install(package)
        (tmp_path / "home").mkdir()
        window.start(
            SETTINGS,
            trusted=trusted,
            HOME=str(tmp_path / "home"),
            PATH=f"{tools.node.parent}:/usr/bin:/bin",
            # What the server needs is here; only the server itself is installed.
            PIP_NO_DEPS="1",
            PYTHONPATH=str(dependencies(tmp_path / "dependencies")),
            **variables,
        )
        # What lies in it is not to be run, wherever VS Code was started.
        assert window.code("return process.cwd();") == str(window.project)
        return window

    make_project(tmp_path)
    yield start_one
    for window in windows:
        window.picture(tmp_path / "end.png")
        print(window.report())
        window.stop()


def dependencies(folder: Path) -> Path:
    """Return a folder with all that is installed here but the server."""
    folder.mkdir()
    installed = Path(sysconfig.get_paths()["purelib"])
    for path in installed.iterdir():
        if "stablecode" not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


def test_it_installs_what_is_missing_and_runs_nothing_of_an_untrusted_workspace(
    start: Start, tmp_path: Path
) -> None:
    project = tmp_path / "ein Projekt mit ü"
    trap, sprung = project / ".venv" / "bin" / "lsp-stablecode", tmp_path / "sprung"
    trap.parent.mkdir(parents=True)
    trap.write_text(f"#!/bin/sh\ntouch '{sprung}'\n")
    trap.chmod(0o755)
    for module in ("ensurepip", "venv", "pip", "of_the_workspace"):
        path = project / f"{module}.py"
        path.write_text(f"from pathlib import Path\nPath({str(sprung)!r}).touch()\n")
    (project / ".vscode").mkdir()
    (project / ".vscode" / "settings.json").write_text(
        json.dumps({"lsp-stablecode.serverCommand": [str(trap)]})
    )
    window = start(trusted=False)
    window.wait(lambda: window.status_icon == "warning", "a warning")
    window.wait(
        lambda: any("was not found" in one for one in window.notifications), "the offer"
    )
    window.press_button("Install")
    window.wait_until_ready()
    [environment] = tmp_path.glob("user/User/globalStorage/*stablecode/server")
    assert (environment / "bin" / "lsp-stablecode").exists()
    window.open("shapes.py")
    window.type("    si")
    window.wait_for_ghost(REST)
    assert not sprung.exists()

    # It is found again, and what was half installed would not be.
    window.command("lsp-stablecode.restartServer")
    window.wait_until_ready()
    assert "installed by the extension" in window.server_log()
    window.code(
        "await vscode.workspace.fs.delete(vscode.Uri.file(args.path));",
        path=str(environment / "installed-from.txt"),
    )
    window.command("lsp-stablecode.restartServer")
    window.wait(lambda: window.status_icon == "warning", "a warning")

    # Of a Python that is named, too, the workspace chooses no module.
    window.set(serverCommand=[sys.executable, "-m", "of_the_workspace"])
    window.wait(lambda: window.status_icon == "error", "no server")
    window.code("void vscode.commands.executeCommand('lsp-stablecode.runDoctor');")
    window.wait(
        lambda: any("did not get through" in one for one in window.notifications),
        "doctor's end",
    )
    assert not sprung.exists()
    window.set(serverCommand=None)

    # Now that it is trusted, the workspace may say what is run.
    window.command("workbench.trust.manage")
    window.browser(
        "await page.getByRole('button', { name: 'Trust', exact: true }).click();"
    )
    window.wait(sprung.exists, "the workspace's command")


def test_a_broken_installation_is_reported_and_removed(
    start: Start, tmp_path: Path
) -> None:
    window = start(trusted=True)
    window.wait(lambda: window.status_icon == "warning", "a warning")
    for name in ("lsp-stablecode", str(tmp_path / "nothing")):
        window.set(installFrom=name)
        window.code(
            "void vscode.commands.executeCommand('lsp-stablecode.installServer');"
        )
        refusal = f"{name} is no absolute path"
        window.wait(
            lambda refusal=refusal: any(refusal in one for one in window.notifications),
            "the refusal of a mere name",
        )
    source = tmp_path / "no project"
    source.mkdir()
    window.set(installFrom=str(source))
    window.command("notifications.clearAll")
    window.code("void vscode.commands.executeCommand('lsp-stablecode.installServer');")
    window.wait(
        lambda: any("could not be installed" in one for one in window.notifications),
        "the reason",
    )
    window.wait(lambda: window.status_icon == "warning", "a warning")
    assert not list(tmp_path.glob("user/User/globalStorage/*stablecode/server"))


def test_what_installs_ends_with_the_window(start: Start, tmp_path: Path) -> None:
    window = start(trusted=True)
    window.wait(lambda: window.status_icon == "warning", "a warning")
    python, number = tmp_path / "python", tmp_path / "number"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in\n'
        f"  *'-m venv'*) echo $$ >'{number}'; exec sleep 1000 ;;\n"
        "  *) echo 3 12 ;;\nesac\n"
    )
    python.chmod(0o755)
    window.set(python=str(python))
    window.code("void vscode.commands.executeCommand('lsp-stablecode.installServer');")
    window.wait(lambda: number.exists() and number.read_text().strip(), "its start")
    window.reload()
    installing = int(number.read_text())
    window.wait(lambda: not psutil.pid_exists(installing), "its end")
    window.wait(lambda: window.status_icon == "warning", "a warning")


def test_it_follows_the_python_extension(start: Start, tmp_path: Path) -> None:
    # Where the extension's `python` would lead, if it were a path.
    make_environment(tmp_path / "ein Projekt mit ü" / "python")
    window = start(packed(STAND_IN, tmp_path), trusted=True)
    window.wait(lambda: window.status_icon == "warning", "a warning")
    environment = tmp_path / "chosen"
    make_environment(environment)
    window.code(
        """
        const extension = vscode.extensions.getExtension("ms-python.python");
        const python = await extension.activate();
        await python.environments.updateActiveEnvironmentPath(args.path);
        """,
        path=str(environment / "bin" / "python"),
    )
    window.wait_until_ready()
    assert "in the chosen Python environment" in window.server_log()
    window.open("shapes.py")
    window.type("    si")
    window.wait_for_ghost(REST)


def test_it_does_not_wait_for_ever_for_the_python_extension(
    start: Start, tmp_path: Path
) -> None:
    environment, chosen = tmp_path / "chosen", tmp_path / "file"
    make_environment(environment)
    window = start(
        packed(STAND_IN, tmp_path), trusted=True, VSCODE_PYTHON_WAITS_FOR=str(chosen)
    )
    window.wait(lambda: window.status_icon == "warning", "a warning")
    chosen.write_text(str(environment / "bin" / "python"))
    window.wait_until_ready()
    assert "in the chosen Python environment" in window.server_log()


def make_environment(folder: Path) -> None:
    """Make what a Python environment with the server in it looks like."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "lsp-stablecode"
    root = Path(__file__).parents[1]
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH='{root}':\"$PYTHONPATH\" "
        f"exec '{sys.executable}' -m lsp_stablecode \"$@\"\n"
    )
    program.chmod(0o755)
