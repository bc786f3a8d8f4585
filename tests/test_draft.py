"""Drafts: never another text, only fewer passes; and cheap where there are none."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine import make_engine, request
from tiny import FAMILIES, make_model, make_tokenizer

from model import Candidate, Cut, FillResult, StopRule
from model.dialects import DIALECTS
from model.draft import Drafter, PassCosts, texts_of
from model.engine import LocalEngine
from model.fim import Prompt, PromptBuilder
from model.ngrams import LONGEST_INDEXED, SEPARATOR, NgramIndex
from model.stopping import stop_at_strings
from model.tokenizer import CodeTokenizer

_FLAT = ((1, 1.0), (16, 1.0))
_STEEP = ((1, 1.0), (2, 1.25), (4, 1.75), (8, 2.75))
_TEXT = "def first(a, b):\n    c = a + b\n    return c\n\n\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CodeTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    make_tokenizer().save(str(path))
    return CodeTokenizer.from_file(path)


def assert_same(drafted: Candidate, plain: Candidate) -> None:
    assert drafted.text == plain.text
    assert drafted.finish_reason == plain.finish_reason
    assert drafted.num_tokens == plain.num_tokens
    assert drafted.mean_logprob == pytest.approx(plain.mean_logprob, abs=1e-4)


def assert_ledgers_agree(engine: LocalEngine) -> None:
    backend, sessions = engine._backend, engine._sessions
    selected = sessions.ledgers.index(sessions.ledger)
    for session, ledger in enumerate(sessions.ledgers):
        backend.select(session)
        assert backend.num_cached_tokens == len(ledger)
    backend.select(selected)


# --- n-grams -----------------------------------------------------------------------

_IDS = st.lists(st.integers(0, 3), max_size=40)


def latest_longest(text: Sequence[int], tail: Sequence[int]) -> tuple[int, int]:
    """Find by scanning what the index finds by looking up."""
    for length in range(min(LONGEST_INDEXED, len(tail)), 0, -1):
        for position in range(len(text) - 1, length - 1, -1):
            if list(text[position - length : position]) == list(tail[-length:]):
                return position, length
    return 0, 0


@given(text=_IDS, tail=_IDS)
def test_the_longest_and_latest_match_is_found(
    text: list[int], tail: list[int]
) -> None:
    """Dictionaries find what scanning the text would find."""
    index = NgramIndex()
    index.extend(text)
    position, length = index.find(tail)
    expected_position, expected_length = latest_longest(text, tail)
    assert position == expected_position
    assert min(length, LONGEST_INDEXED) == expected_length
    assert text[position - length : position] == tail[len(tail) - length :]


@given(texts=st.lists(_IDS, max_size=6))
def test_an_index_that_followed_edits_equals_a_new_one(texts: list[list[int]]) -> None:
    """Removing tokens undoes exactly what appending them did."""
    followed, new = NgramIndex(), NgramIndex()
    for text in texts:
        followed.become(text)
    new.extend(texts[-1] if texts else [])
    assert followed._after == new._after
    assert list(followed.token_ids) == list(new.token_ids)


def test_reading_stops_at_a_separator_and_goes_on_with_a_repetition() -> None:
    """A draft never joins two texts; a period once seen is taken to go on."""
    index = NgramIndex()
    index.extend([1, 2, 3, SEPARATOR, 4, 5, 6, 4, 5])
    assert index.read(1, 8) == [2, 3]
    assert index.find([4, 5]) == (6, 2)
    assert index.read(6, 8) == [6, 4, 5, 6, 4, 5, 6, 4]


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_texts_of_a_prompt_end_with_the_prefix(
    order: Any, tokenizer: CodeTokenizer
) -> None:
    """In either order, what is generated follows the prefix's own tokens."""
    prompts = PromptBuilder(tokenizer, DIALECTS["starcoder"], "spm")
    prefix, suffix = tokenizer.encode("x = f("), tokenizer.encode(")\n")
    for before, after in (("x = f(", ")\n"), ("", ")\n"), ("x = f(", ""), ("", "")):
        prompt = prompts.build(before, after, order=order, budget_tokens=400)
        texts = texts_of(prompt, prompts.stop_ids)
        assert texts[-1] == (prefix if before else [])
        assert texts[:-1] == ([suffix] if after else [])


# --- the policy --------------------------------------------------------------------


def test_pass_costs_are_interpolated() -> None:
    """Straight lines between what was measured."""
    costs = PassCosts([(1, 10.0), (2, 12.0), (4, 20.0)])
    assert [costs(count) for count in (1, 2, 3, 4)] == [10.0, 12.0, 16.0, 20.0]
    assert costs.most_tokens == 4


def replay(
    drafter: Drafter, token_ids: Sequence[int], costs: PassCosts
) -> tuple[int, float]:
    """Let a drafter guess at a known output; return passes and what they cost."""
    position, passes, cost = 0, 0, 0.0
    while position < len(token_ids):
        draft = drafter.propose(len(token_ids) - position - 1)
        right = 0
        while right < len(draft) and draft[right] == token_ids[position + right]:
            right += 1
        drafter.observe(token_ids[position : position + right + 1])
        position += right + 1
        passes, cost = passes + 1, cost + costs(len(draft) + 1)
    return passes, cost


def test_a_copy_takes_few_passes() -> None:
    """Text that stands in the prompt comes many tokens per pass."""
    source = list(range(100))
    drafter = Drafter(_FLAT)
    drafter.begin([source, [7, 8, 9]])
    passes, _ = replay(drafter, source[10:70], PassCosts(_FLAT))
    assert passes <= 6


def test_where_nothing_repeats_nothing_is_drafted() -> None:
    """Nothing to look up: every pass is a plain one."""
    drafter = Drafter(_STEEP)
    drafter.begin([list(range(100)), list(range(100, 200))])
    assert replay(drafter, list(range(200, 260)), PassCosts(_STEEP)) == (60, 60.0)


def test_noise_costs_nothing_and_copies_are_noticed_after_it() -> None:
    """Guesses that are wrong soon are not verified; right ones soon are again."""
    noise = random.Random(1)
    costs, drafter = PassCosts(_STEEP), Drafter(_STEEP)
    for _ in range(3):
        wrong = [noise.randrange(12) for _ in range(600)]
        drafter.begin([wrong[:300]])
        _, cost = replay(drafter, wrong[300:], costs)
        # Against what the same tokens cost one by one.
        assert cost < 1.06 * 300
    assert cost < 1.02 * 300
    source = list(range(100, 400))
    for begin in range(0, 300, 60):
        drafter.begin([source, source[begin : begin + 2]])
        passes, _ = replay(drafter, source[begin + 2 : begin + 60], costs)
    assert passes < 30


def test_the_width_follows_the_staircase() -> None:
    """The same guess is drafted long where that is free, short where it is dear."""
    source = list(range(40))
    widths = []
    for costs in (_FLAT, ((1, 1.0), (4, 1.1), (5, 3.0), (16, 9.0)), ((1, 1), (16, 16))):
        drafter = Drafter(costs)
        drafter.begin([source, source[:9]])
        widths.append(len(drafter.propose(30)))
    assert widths == [15, 3, 0]


def test_a_suggestion_is_found_again_after_a_diverging_key() -> None:
    """What was generated last is a source, although the document never held it."""
    drafter = Drafter(_FLAT)
    prefix = [1, 2, 3, 4, 5]
    suggestion = list(range(50, 80))
    drafter.begin([prefix])
    drafter.observe(suggestion)
    drafter.begin([[*prefix, *suggestion[:3], 99, suggestion[4]]])
    assert drafter.propose(10)[:6] == suggestion[5:11]
    drafter.forget()
    drafter.begin([[*prefix, *suggestion[:3], 99, suggestion[4]]])
    assert not drafter.propose(10)


def test_drafting_costs_little_beside_a_pass() -> None:
    """Under 0.3 ms per step with 4,000 tokens in view, and per key typed."""
    choose = random.Random(0)
    text = [choose.randrange(300) for _ in range(4000)]
    drafter = Drafter(_FLAT)
    drafter.begin([text[:1000], text[1000:]])
    times = []
    for _ in range(50):
        started = time.perf_counter()
        drafter.propose(20)
        drafter.observe([choose.randrange(300)])
        times.append(time.perf_counter() - started)
    assert sorted(times)[25] < 0.0003
    keys = []
    for count in range(1, 6):
        started = time.perf_counter()
        drafter.begin([text[:1000], [*text[1000:], *range(count)]])
        keys.append(time.perf_counter() - started)
    # The quickest: other programs have their share of the processor.
    assert min(keys) < 0.001


# --- the engine --------------------------------------------------------------------


def _stop_at_length(text: str) -> Cut | None:
    return Cut(len(text) - 1, "long") if len(text) > 30 else None


_RULES: list[StopRule | None] = [None, _stop_at_length, stop_at_strings(["a", "\n"])]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ["psm", "spm"])
def test_drafted_equals_plain(
    family: str, order: Any, tokenizer: CodeTokenizer
) -> None:
    """Text, reason, tokens, log-probabilities and what is streamed: all the same."""
    accepted = 0
    for seed in (0, 1):
        model = make_model(family, seed=seed)
        drafted = make_engine(tokenizer, family, model=model)
        plain = make_engine(tokenizer, family, model=model)
        plain.drafting = False
        # The second time round, the suggestion before is a nearly perfect draft.
        for rule in (*_RULES, *_RULES):
            ask = request(
                _TEXT * 2, _TEXT, fim_order=order, max_new_tokens=40, stop_rule=rule
            )
            results: list[FillResult] = []
            streams: list[list[str]] = []
            for engine in (drafted, plain):
                streams.append([])
                results.append(engine.fill(ask, on_text=streams[-1].append))
                assert_ledgers_agree(engine)
            one, other = results
            assert_same(one.candidates[0], other.candidates[0])
            assert streams[0] == streams[1]
            assert (
                drafted._sessions.ledger.token_ids == plain._sessions.ledger.token_ids
            )
            statistics = one.statistics
            assert statistics.generated_tokens == other.statistics.generated_tokens
            assert statistics.accepted_tokens <= statistics.drafted_tokens
            assert other.statistics.drafted_tokens == 0
            accepted += statistics.accepted_tokens
    assert accepted > 100


def test_the_rule_is_asked_after_each_token(tokenizer: CodeTokenizer) -> None:
    """However many tokens a pass gives, a rule sees every text in between."""
    engine = make_engine(tokenizer)
    plain = make_engine(tokenizer)
    plain.drafting = False
    asked: dict[bool, list[str]] = {True: [], False: []}
    for one in (engine, plain):
        for _ in range(2):
            texts = asked[one.drafting] = []

            def rule(text: str, texts: list[str] = texts) -> Cut | None:
                texts.append(text)
                return Cut(3, "enough") if len(texts) == 17 else None

            result = one.fill(request(_TEXT, max_new_tokens=40, stop_rule=rule))
            assert len(texts) == 17
            assert result.candidates[0].finish_reason == "enough"
    assert asked[True] == asked[False]
    assert result.statistics.accepted_tokens == 0


def test_samples_and_several_candidates_are_not_drafted(
    tokenizer: CodeTokenizer,
) -> None:
    """A draft is the most probable text; a sample is not."""
    engine = make_engine(tokenizer)
    engine.fill(request(_TEXT))
    for options in ({"temperature": 0.8}, {"num_candidates": 3}):
        assert engine.fill(request(_TEXT, **options)).statistics.drafted_tokens == 0


_SNIPPETS = st.sampled_from(["x", "def f(", ")", ":\n", "return é", "# 😀 ", "a.b"])
_EDITS = st.lists(
    st.tuples(
        st.integers(0, 60), st.integers(0, 8), _SNIPPETS, st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def two_engines(tokenizer: CodeTokenizer) -> tuple[LocalEngine, LocalEngine]:
    cold = make_engine(tokenizer, chunk_tokens=1000)
    cold.drafting = False
    return make_engine(tokenizer), cold


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=_EDITS,
    order=st.sampled_from(["psm", "spm"]),
    rule=st.sampled_from(_RULES),
)
def test_drafted_and_cached_equals_plain_and_cold(
    edits: list[tuple[int, int, str, bool, bool]],
    order: Any,
    rule: StopRule | None,
    two_engines: tuple[LocalEngine, LocalEngine],
) -> None:
    """Over random edits and accepted suggestions, in two documents."""
    warm, cold = two_engines
    documents = {True: (_TEXT, "\n    return c\n"), False: ("import os\n", "")}
    for position, removed, inserted, in_suffix, document in edits:
        prefix, suffix = documents[document]
        text = suffix if in_suffix else prefix
        at = max(0, len(text) - position)
        text = text[:at] + inserted + text[at + removed :]
        prefix, suffix = (prefix, text) if in_suffix else (text, suffix)
        ask = request(
            prefix, suffix, fim_order=order, max_new_tokens=16, stop_rule=rule
        )
        cold.forget()
        one, other = warm.fill(ask).candidates[0], cold.fill(ask).candidates[0]
        assert one.text == other.text
        assert one.finish_reason == other.finish_reason
        assert one.num_tokens == other.num_tokens
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-3)
        assert_ledgers_agree(warm)
        documents[document] = (prefix + one.text[: position % 7], suffix)


def test_a_prompt_without_texts_can_be_begun() -> None:
    """An empty file is one control token."""
    drafter = Drafter()
    drafter.begin(texts_of(Prompt([0], "prefix-only", 0, 0), {0}))
    assert drafter.propose(5) == []
    drafter.observe([4, 4, 4, 4])
    assert drafter.propose(5) == [4] * 5
