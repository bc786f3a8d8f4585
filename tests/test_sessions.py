"""Sessions: documents keep their caches, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from test_draft import assert_ledgers_agree
from test_engine import make_engine, request
from tiny import make_model, make_tokenizer

from model.backend import Backend, Logits
from model.engine import LocalEngine
from model.errors import OutOfMemoryError, TooManyBranchesError
from model.sessions import Sessions
from model.tokenizer import CodeTokenizer
from model.transformers_backend import TransformersBackend

_FIRST = "def f(a):\n    value = a\n" * 4
_SECOND = "import os\nimport sys\n\nprint(os.name, sys.argv)\n" * 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


def make_backend(num_sessions: int = 2) -> TransformersBackend:
    return TransformersBackend(
        make_model("stablelm"), attention="sdpa", num_sessions=num_sessions
    )


def use(sessions: Sessions, token_ids: Sequence[int]) -> int:
    """Compute a prompt; return how many of its tokens were there."""
    reused = sessions.choose(token_ids)
    sessions.forward(token_ids[reused:])
    return reused


def test_two_documents_keep_their_caches(tokenizer: CodeTokenizer) -> None:
    """Switching to and fro costs only what was typed."""
    engine = make_engine(tokenizer)
    for count in range(4):
        for text in (_FIRST, _SECOND):
            ask = request(text + "x" * count, max_new_tokens=4)
            statistics = engine.fill(ask).statistics
            left = statistics.prompt_tokens - statistics.reused_tokens
            assert count == 0 or left <= 4
            assert_ledgers_agree(engine)


def test_a_little_in_common_is_no_reason_to_lose_a_document() -> None:
    """A licence header shared by two documents takes neither's cache."""
    header = list(range(10, 30))
    first, second = header + [40] * 80, header + [50] * 80
    sessions = Sessions(make_backend())
    assert use(sessions, first) == 0
    assert use(sessions, second) == 0
    assert use(sessions, [*first, 60]) == 100
    assert use(sessions, [*second, 60]) == 100


def test_an_edit_in_a_document_keeps_its_session() -> None:
    """What is the same before an edit is not computed again, nor a session taken."""
    first, second = [40] * 50 + list(range(100, 150)), [60] * 100
    sessions = Sessions(make_backend())
    use(sessions, second)
    use(sessions, first)
    assert use(sessions, [*first[:60], 9, *first[60:]]) == 60
    assert use(sessions, [*second, 1]) == 100


def test_the_session_used_longest_ago_is_given_up() -> None:
    """A third document takes the place of the one nobody asked for lately."""
    first, second, third = [40] * 50, [50] * 50, [60] * 50
    sessions = Sessions(make_backend())
    for text in (first, second, first, third):
        use(sessions, text)
    assert use(sessions, [*first, 1]) == 50
    assert use(sessions, [*second, 1]) == 0


def test_one_session_serves_all(tokenizer: CodeTokenizer) -> None:
    """A backend with a single cache gives the same texts."""
    several, single = make_engine(tokenizer), make_engine(tokenizer)
    backend: Any = make_backend(1)
    single = LocalEngine(backend, tokenizer, single._prompts, single.info)
    for text in (_FIRST, _SECOND, _FIRST):
        one, other = several.fill(request(text)), single.fill(request(text))
        assert one.candidates[0].text == other.candidates[0].text
        assert_ledgers_agree(single)


class _SmallMemory(TransformersBackend):
    """A device that holds so many tokens in all its caches together."""

    def __init__(self, capacity: int) -> None:
        super().__init__(make_model("stablelm"), attention="sdpa", chunk_tokens=16)
        self.capacity = capacity

    def forward(self, token_ids: Sequence[int], num_logits: int = 1) -> Any:
        held = sum(int(cache.get_seq_length()) for cache in self._caches)
        if held + len(token_ids) > self.capacity:
            raise OutOfMemoryError("The device ran out of memory.")
        return super().forward(token_ids, num_logits)


def test_other_documents_make_room(tokenizer: CodeTokenizer) -> None:
    """Where two documents do not fit, each still gets its answer."""
    plain = make_engine(tokenizer)
    expected = [plain.fill(request(text)).candidates for text in (_FIRST, _SECOND)]
    needed = max(len(tokenizer.encode(text)) for text in (_FIRST, _SECOND)) + 20
    small = LocalEngine(
        _SmallMemory(needed), tokenizer, plain._prompts, plain.info, drafting=False
    )
    for _ in range(2):
        for text, candidates in zip((_FIRST, _SECOND), expected, strict=True):
            result = small.fill(request(text))
            assert result.candidates[0].text == candidates[0].text
            assert_ledgers_agree(small)
    assert small.backend.num_sessions == 1
    with pytest.raises(OutOfMemoryError):
        small.fill(request(_FIRST * 3))
    assert_ledgers_agree(small)


def test_more_branches_than_a_backend_has_are_refused() -> None:
    """By name, and one is simply a token more."""
    backend: Backend = make_backend()
    backend.forward([1, 2, 3])
    with pytest.raises(TooManyBranchesError, match="2 continuations"):
        backend.branch([4, 5], 3)
    logits: Logits = backend.branch([4], 3)
    assert len(logits) == 1
    assert backend.num_cached_tokens == 4
