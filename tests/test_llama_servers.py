"""llama.cpp's own server, and llama-cpp-python's, where they are installed.

The first takes token ids and tells them; the second takes text only and has to find the
control tokens in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_servers import llama, llama_commands

from model import Cut, Engine, EngineOptions, FillRequest, load_engine
from model.remote_errors import ControlTextError
from model.starter import assemble

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.timeout(1200),
]


def _line(text: str) -> Cut | None:
    return Cut(text.index("\n"), "line") if "\n" in text else None


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "starter.gguf"
    assemble(path)
    return path


@pytest.fixture(scope="module", params=["llama-server", "llama-cpp-python"])
def engine(
    request: pytest.FixtureRequest,
    gguf: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    command = llama_commands(gguf).get(request.param)
    if command is None:
        pytest.skip(f"{request.param}: it is not installed")
    log = tmp_path_factory.mktemp("server") / "log"
    with llama(command, log) as endpoint:
        engine = load_engine(
            EngineOptions(
                model="starter",
                backend="openai",
                endpoint=endpoint,
                context_tokens=2048,
                remote_timeout_ms=120_000,
            )
        )
        yield engine
        engine.close()


def test_a_line_is_completed(engine: Engine) -> None:
    """The control tokens are understood: the gap is filled."""
    asked = FillRequest(
        "def area(width, height):\n    ",
        "\n\n\nprint(area(2, 3))\n",
        32,
        heal=True,
        stop_rule=_line,
    )
    [candidate] = engine.fill(asked).candidates
    assert candidate.text.strip() == "return width * height"
    assert candidate.mean_logprob < 0


def test_half_a_word_is_completed(engine: Engine) -> None:
    asked = FillRequest(
        "def area(width, height):\n    retu", "\n", 32, heal=True, stop_rule=_line
    )
    result = engine.fill(asked)
    [candidate] = result.candidates
    assert candidate.text == "rn width * height"
    assert result.healed.endswith("retu")


def test_candidates_differ_from_their_first_token(engine: Engine) -> None:
    asked = FillRequest(
        "import os\n\n\ndef read(path):\n    with ",
        "\n",
        16,
        num_candidates=3,
        stop_rule=_line,
    )
    texts = [one.text for one in engine.fill(asked).candidates]
    assert len(texts) == len(set(texts)) == 3


def test_every_character_arrives(engine: Engine) -> None:
    """Those of several tokens too, which llama.cpp tells with the last of them."""
    asked = FillRequest(
        "a = ['😀', '🚀', '日本', 'é']\nb = ['😀', '🚀', '", "\n", 12, stop_rule=_line
    )
    [candidate] = engine.fill(asked).candidates
    assert candidate.text.startswith("日本', 'é")


def test_a_spelled_control_token_stays_text(engine: Engine) -> None:
    """As ids it is plain text; where only text can be sent, it is not sent."""
    asked = FillRequest('END = "<|fim_middle|>"\nEND_2 = "', '"\n', 12)
    if "as text" in " ".join(engine.info.notes):
        with pytest.raises(ControlTextError):
            engine.fill(asked)
    else:
        [candidate] = engine.fill(asked).candidates
        assert candidate.text.strip()


def test_cancelled_at_once(engine: Engine) -> None:
    flag = threading.Event()
    set_at_s = 0.0

    def stop() -> None:
        nonlocal set_at_s
        set_at_s = time.monotonic()
        flag.set()

    threading.Timer(1.0, stop).start()
    result = engine.fill(FillRequest("def main():\n", "", 900), flag)
    assert result.cancelled
    assert time.monotonic() - set_at_s < 1.0
