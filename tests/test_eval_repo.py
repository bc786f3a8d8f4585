"""``eval repo``: the files, the cuts, the measures, the defects, and the whole path."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lsp_stablecode.cli import main
from lsp_stablecode.errors import SettingsError, StablecodeError
from lsp_stablecode.evaluation.crossfile import cross_file_finder, defined_names
from lsp_stablecode.evaluation.defects import find_defects, num_unmatched
from lsp_stablecode.evaluation.gaps import PLACES, USUAL_PLACES, Gap, Place
from lsp_stablecode.evaluation.measures import (
    Suggestion,
    accepted,
    completes_name,
    keys_used,
    measure,
    num_keys,
    wanted,
)
from lsp_stablecode.evaluation.neighbours import neighbours_of
from lsp_stablecode.evaluation.overrides import with_overrides
from lsp_stablecode.evaluation.pictures import bars, calibration_error, reliability
from lsp_stablecode.evaluation.places import gaps_at
from lsp_stablecode.evaluation.reading import Reading
from lsp_stablecode.evaluation.selection import choose_gaps
from lsp_stablecode.evaluation.sources import find_sources
from lsp_stablecode.settings import DEFAULTS

PYTHON = '''"""Totals."""

from prices import price_of_article


def total(orders, rate):
    """Add up."""
    amount = 0
    for order in orders:
        amount += price_of_article(order.article, rate)
    return round(amount, 2)


def report(orders):
    if not orders:
        return "nothing"  # really
    lines = [order.name for order in orders]
    return ", ".join(lines)
'''

GO = """package shop

func Total(orders []Order, rate float64) float64 {
	amount := 0.0
	for _, order := range orders {
		if order.Cancelled {
			continue
		}
		amount += PriceOf(order.Article, rate)
	}
	return Round(amount, 2)
}
"""

RUBY = """class Shop
  def total(orders)
    amount = 0
    orders.each do |order|
      amount += price_of(order.article)
    end
    amount.round(2)
  end

  def names(orders)
    orders.map { |order| order.name }
  end
end
"""

PRICES = """def price_of_article(article, rate):
    return article.price * rate


def unused_helper_function():
    return None


class Article:
    def discounted_price(self):
        return self.price * 0.9
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as people have them: sources, and what is not measured."""
    files = {
        "shop/total.py": PYTHON,
        "shop/prices.py": PRICES,
        "go/total.go": GO,
        "shop.rb": RUBY,
        "README.md": "# Shop\n" * 20,
        "node_modules/left/pad.js": "x = 1\n" * 20,
        ".hidden/a.py": PYTHON,
        "build/made.py": PYTHON,
        "build/kept.py": PYTHON,
        "app.min.js": "x = 1\n" * 20,
        "wide.js": "x = 1\n" * 20 + "y" * 500,
        "huge.js": "x = 1\n" * 40_000,
        "short.py": "x = 1\n",
        ".gitignore": "build/*\n!build/kept.py\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b"x = 'caf\xe9'\n" * 20)
    return tmp_path


def gaps_in(
    text: str, place: Place, language_id: str = "python", seed: int = 0
) -> list[Gap]:
    reading = Reading(text, language_id)
    return list(gaps_at(reading, "a", place, random.Random(seed)))


def gap(
    left: str,
    truth: str,
    *,
    place: Place = "end-of-line",
    above: str = "",
    below: str = "\n",
    closers: str = "",
    after: str = "",
    language_id: str = "python",
    name: str = "",
) -> Gap:
    return Gap(
        path="a",
        language_id=language_id,
        place=place,
        prefix=above + left,
        suffix=closers + below,
        truth=truth,
        closers=closers,
        after=after,
        name=name,
    )


# Files ----------------------------------------------------------------------------


def test_only_own_sources_are_measured(folder: Path) -> None:
    """Ignored, hidden, vendored, minified, huge, foreign and short files are not."""
    found = {one.name for one in find_sources(folder) if one.read() is not None}
    assert found == {
        "shop/total.py",
        "shop/prices.py",
        "go/total.go",
        "shop.rb",
        "build/kept.py",
    }


def test_a_repository_s_rules_hold_in_its_subfolders(folder: Path) -> None:
    """What the root's .gitignore names is ignored when a part is measured."""
    (folder / ".git").mkdir()
    names = [one.name for one in find_sources(folder / "build")]
    assert names == ["kept.py"]


def test_languages_and_single_files_can_be_named(folder: Path) -> None:
    """Prose and data are measured for who names them; a file is its own folder."""
    assert [one.name for one in find_sources(folder, ["markdown"])] == ["README.md"]
    only = find_sources(folder / "shop" / "total.py")
    assert [(one.name, one.language_id) for one in only] == [("total.py", "python")]


def test_no_source_is_an_error(tmp_path: Path) -> None:
    """An empty folder, or none, is said."""
    with pytest.raises(SettingsError, match="no source file"):
        find_sources(tmp_path)
    with pytest.raises(StablecodeError, match="There is no"):
        find_sources(tmp_path / "nowhere")


# Cuts -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", USUAL_PLACES)
@pytest.mark.parametrize(
    ("text", "language_id"),
    [(PYTHON, "python"), (GO, "go"), (RUBY, "ruby"), (GO, "dart")],
)
def test_every_cut_can_be_filled(text: str, language_id: str, place: Place) -> None:
    """Prefix, truth and suffix are the source, and the truth is exactly right."""
    for seed in range(5):
        for one in gaps_in(text, place, language_id, seed):
            assert one.source == text
            result = measure(one, Suggestion(one.truth))
            assert result.exact, one
            assert result.keys_used == 1
            assert result.parses in (True, None)
            assert not find_defects(one, Suggestion(one.truth))


@pytest.mark.parametrize("place", USUAL_PLACES)
def test_every_place_is_found(place: Place) -> None:
    """There is something to cut at each place."""
    assert gaps_in(PYTHON, place)
    assert gaps_in(GO, place, "go")


def test_a_line_s_end_is_cut_between_tokens() -> None:
    """Three characters stand on both sides; comments at the end are not asked for."""
    for seed in range(20):
        for one in gaps_in(PYTHON, "end-of-line", seed=seed):
            assert len(one.left.replace(" ", "")) >= 3
            first = one.truth.split("\n")[0]
            assert len(first.replace(" ", "")) >= 3
            if one.inside == "code":
                assert "#" not in first
                assert not (one.left[-1].isalnum() and first[0].isalnum())


def test_a_header_takes_its_body_along() -> None:
    """Whoever has not typed ``if order.Cancelled {`` has not typed its body."""
    ends = {
        one.truth
        for seed in range(40)
        for one in gaps_in(GO, "end-of-line", "go", seed)
        if one.left.startswith("\t\tif ")
    }
    assert ends
    assert all(one.endswith("{\n\t\t\tcontinue\n\t\t}") for one in ends)


def test_a_call_s_closers_stand_right_of_the_cursor() -> None:
    """What is open on the line left of the cursor is closed, as editors do."""
    found = [one for seed in range(20) for one in gaps_in(PYTHON, "call", seed=seed)]
    assert found
    for one in found:
        assert one.closers == ")"
        assert one.suffix.startswith(")\n")
        assert "(" in one.left
    # Two brackets, and an argument between their closers: nowhere to type that.
    nested = "def f():\n    x = first(second(aaa), bbb)\n"
    for seed in range(20):
        for one in gaps_in(nested, "call", seed=seed):
            assert one.truth in ("second(aaa), bbb", " bbb", "bbb")


def test_what_follows_a_call_is_not_typed_yet() -> None:
    """The header's end and its body stood behind the closers."""
    text = "def f(a):\n    if check(aaa, bbb):\n        return a\n    return 0\n"
    found = [one for seed in range(9) for one in gaps_in(text, "call", seed=seed)]
    assert {one.after for one in found} == {":\n        return a"}
    assert all(one.suffix == ")\n    return 0\n" for one in found)


def test_a_body_is_cut_as_a_whole() -> None:
    """Both with the cursor behind the opener and on the next line, indented."""
    found = [
        one for seed in range(9) for one in gaps_in(GO, "after-opener", "go", seed)
    ]
    assert {one.left.strip()[-1:] for one in found} == {"{", ""}
    for one in found:
        assert one.suffix.startswith("\n")
        assert one.suffix.strip().startswith("}")
        assert one.truth.startswith("\n") == one.left.endswith("{")


def test_a_body_that_begins_with_prose_is_not_cut() -> None:
    """A docstring would be asked for, and code be meant."""
    for seed in range(9):
        for one in gaps_in(PYTHON, "after-opener", seed=seed):
            assert '"""' not in one.truth


def test_an_empty_line_stands_in_a_body() -> None:
    """Indented, and neither an opener nor a closer."""
    lines = {
        one.truth for seed in range(9) for one in gaps_in(GO, "empty-line", "go", seed)
    }
    assert lines == {
        "amount := 0.0",
        "continue",
        "amount += PriceOf(order.Article, rate)",
        "return Round(amount, 2)",
    }


def test_a_name_is_cut_inside() -> None:
    """Two characters at least stand on both sides, and keywords are no names."""
    for seed in range(20):
        for one in gaps_in(PYTHON, "mid-identifier", seed=seed):
            assert one.left[-2:].isidentifier()
            assert one.truth[:2].replace("_", "a").isalnum()


def test_the_choice_depends_on_the_seed_alone(folder: Path) -> None:
    """Not on the order of files; another seed chooses other gaps."""
    files = find_sources(folder)
    first = choose_gaps(files, 30, seed=1, places=USUAL_PLACES)
    again = choose_gaps(files[::-1], 30, seed=1, places=USUAL_PLACES)
    other = choose_gaps(files, 30, seed=2, places=USUAL_PLACES)
    assert first == again
    assert first != other


def test_cuts_are_spread_over_languages_and_places(folder: Path) -> None:
    """Evenly, though there are more Python files than others."""
    gaps = choose_gaps(find_sources(folder), 15, seed=0, places=USUAL_PLACES)
    languages = [one.language_id for one in gaps]
    assert {languages.count(one) for one in ("python", "go", "ruby")} == {5}
    for language_id in ("python", "go"):
        places = {one.place for one in gaps if one.language_id == language_id}
        assert places == set(USUAL_PLACES)


def test_uses_across_files_are_known_from_nowhere_else(folder: Path) -> None:
    """The name is another file's, and here only its import and the gap have it."""
    files = find_sources(folder, ["python"])
    neighbours = neighbours_of(files, 1)
    total = next(one for one in files if one.name == "shop/total.py")
    assert [one.name for one in neighbours[total.name]] == ["shop/prices.py"]
    gaps = choose_gaps(
        files, 9, seed=0, places=["cross-file"], find=cross_file_finder(neighbours)
    )
    mine = [one for one in gaps if one.path == total.name]
    assert [one.name for one in mine] == ["price_of_article"]
    assert (mine[0].prefix + mine[0].suffix).count("price_of_article") == 1
    assert completes_name(mine[0], Suggestion(mine[0].truth))
    assert not completes_name(mine[0], Suggestion("zzz"))


def test_definitions_are_found_in_several_languages() -> None:
    """Functions, methods and classes, by the grammar."""
    assert defined_names(Reading(PRICES, "python")) >= {"Article", "discounted_price"}
    assert defined_names(Reading(GO, "go")) == {"Total"}
    assert defined_names(Reading(RUBY, "ruby")) == {"Shop", "total", "names"}
    assert defined_names(Reading("int add(int a) { return a; }", "c")) == {"add"}


# Measures -------------------------------------------------------------------------


def test_the_rest_of_a_line_is_exact_up_to_its_end() -> None:
    """Blanks at the end do not count, those in front do, and further lines do not."""
    one = gap("x = ", "f(a)")
    assert measure(one, Suggestion("f(a)  ")).exact
    assert measure(one, Suggestion("f(a)\ny = 2")).exact
    assert not measure(one, Suggestion(" f(a)")).exact
    assert measure(one, Suggestion(" f(a)")).exact_but_blanks
    assert not measure(one, Suggestion("f(a")).exact
    assert not measure(one, Suggestion("\nf(a)")).exact


def test_closers_may_be_brought_or_left() -> None:
    """A suggestion that replaces the editor's bracket gives the same line."""
    one = gap("f(", "a, b", place="call", closers=")", after=":")
    for text, num_replaced in (("a, b", 0), ("a, b)", 1), ("a, b):", 1)):
        assert measure(one, Suggestion(text, num_replaced)).exact, text
    assert not measure(one, Suggestion("a, b)", 0)).exact
    assert wanted(one) == "a, b"


def test_a_new_line_counts_with_its_indentation() -> None:
    """The document's line has to be the original's; blank lines before it may be."""
    opener = gap("if a:", "\n    return b\n    # x", place="after-opener")
    assert measure(opener, Suggestion("\n    return b")).exact
    assert measure(opener, Suggestion("\n\n    return b")).exact
    assert not measure(opener, Suggestion("\n  return b")).exact
    assert not measure(opener, Suggestion(" return b")).exact
    line = gap("    ", "return b", place="empty-line", above="if a:\n")
    assert measure(line, Suggestion("return b")).exact
    assert measure(line, Suggestion("\n    return b")).exact
    assert not measure(line, Suggestion(" return b")).exact
    assert not measure(line, Suggestion("    return b")).exact


def test_nothing_shown_saves_nothing() -> None:
    """And is neither exact nor similar to anything."""
    result = measure(gap("x = ", "f(a)"), None)
    assert (result.exact, result.keys_needed, result.keys_used) == (False, 4, 4)
    assert result.parses is None
    assert result.similarity is None


@pytest.mark.parametrize(
    ("truth", "text", "used"),
    [
        ("foo(bar)", "foo(bar)", 1),
        ("foo(bar)", "foo(baz)", 1 + 1 + len("bar)")),
        ("foo(bar)", "food(bar)", len("foo(bar)")),
        ("foobar", "foo", len("foobar")),
        ("a = bc", "a = bd", 1 + 1 + 1 + len("bc")),
        ("value, rest", "value", 1 + len(", rest")),
        ("value", "value and more", 1),
        ("x", "", 1),
    ],
)
def test_a_typist_accepts_right_words(truth: str, text: str, used: int) -> None:
    """One key a word until the first wrong one, then the rest is typed."""
    assert keys_used(gap("y = ", truth), Suggestion(text)) == used


def test_the_editor_indents() -> None:
    """A line end and its indentation are one key."""
    assert num_keys("\n        return x") == 1 + len("return x")
    one = gap("if a:", "\n    return bcd", place="after-opener")
    assert keys_used(one, Suggestion("\n    return xyz")) == 1 + 1 + 1 + len("bcd")


def test_the_whole_suggestion_has_to_parse() -> None:
    """With what follows; a header whose body is still to come does."""
    one = gap("x = ", "f(a)", below="\ny = 1\n")
    assert measure(one, Suggestion("g(b)")).parses
    assert not measure(one, Suggestion("f(a)\n)")).parses
    header = gap("for x ", "in y:\n    use(x)", below="\nz = 1\n")
    assert measure(header, Suggestion("in zs:")).parses
    assert (
        measure(gap("x ", "y", language_id="makefile"), Suggestion("(")).parses is None
    )


def test_similarity_is_of_as_many_lines() -> None:
    """One line is not held against a body of ten."""
    one = gap("if a:", "\n    b()\n    c()\n    d()", place="after-opener")
    assert measure(one, Suggestion("\n    b()")).similarity == 1
    assert measure(one, Suggestion("\n    b()")).line_similarity == 1
    assert accepted(one, Suggestion("\n    b()")) == "if a:\n    b()\n"


# Defects --------------------------------------------------------------------------


def names_of(one: Gap, text: str, num_replaced: int = 0, reason: str = "") -> set[str]:
    found = find_defects(one, Suggestion(text, num_replaced), finish_reason=reason)
    return {defect.name for defect in found}


def test_repeated_lines_are_found() -> None:
    """The next line again, or two of the next anywhere."""
    below = "\n    total = add(a, b)\n    print(total)\n"
    one = gap(
        "    ", "check(a)", place="empty-line", above="def f(a, b):\n", below=below
    )
    assert names_of(one, "total = add(a, b)") == {"repeats-suffix"}
    assert names_of(one, "check(a)\n    total = add(a, b)") == {"repeats-suffix"}
    many = "check(a)\n    total = add(a, b)\n    print(total)\n    return 1"
    assert names_of(one, many) == {"repeats-suffix"}
    assert names_of(one, "check(a)") == set()
    assert names_of(one, "total = sub(a, b)") == set()


def test_what_the_original_repeats_is_no_defect() -> None:
    """Two equal lines stood there."""
    one = gap(
        "    ",
        "step(a)",
        place="empty-line",
        above="def f():\n",
        below="\n    step(a)\n",
    )
    assert names_of(one, "step(a)") == set()


def test_the_same_words_in_another_column_are_no_repetition() -> None:
    """A branch may return what the function returns."""
    one = gap(
        "        ",
        "raise Wrong",
        place="empty-line",
        above="def f(a):\n    if a:\n",
        below="\n    return None\n",
    )
    assert names_of(one, "return None") == set()


def test_a_body_s_end_said_twice_is_found() -> None:
    """``end`` is short, and ends a body."""
    one = gap(
        "    ",
        "use(a)",
        place="empty-line",
        above="def f(a)\n  if a\n",
        below="\n  end\nend\n",
        language_id="ruby",
    )
    assert "repeats-suffix" in names_of(one, "use(a)\n  end")
    assert names_of(one, "use(a)") == set()


def test_doubled_brackets_and_quotes_are_found() -> None:
    """Right of the cursor, and on the next line."""
    call = gap("f(", "a, b", place="call", closers=")")
    assert names_of(call, "a, b)", 0) == {"doubled-bracket"}
    assert names_of(call, "a, b)", 1) == set()
    assert names_of(call, "g(a)") == set()
    text = gap('f("', "abc", place="call", closers='")')
    assert names_of(text, 'abc")', 0) == {"doubled-bracket"}
    assert names_of(text, 'abc")', 2) == set()
    block = gap(
        "    ",
        "go();",
        place="empty-line",
        above="void f() {\n",
        below="\n}\n",
        language_id="c",
    )
    assert names_of(block, "go();\n}") == {"doubled-bracket"}
    assert names_of(block, "if (a) {\n        go();\n    }") == set()


def test_a_word_that_closes_is_as_a_bracket() -> None:
    """``function() end`` above the body's own ``end``."""
    one = gap(
        "  local f = function()",
        "\n    return 1",
        place="after-opener",
        above="function g()\n",
        below="\n  end\nend\n",
        language_id="lua",
    )
    assert names_of(one, " end") == {"doubled-bracket"}
    assert names_of(one, "\n    return 2") == set()
    assert names_of(one, "\n    if a then\n      b()\n    end") == set()


def test_brackets_of_what_is_still_to_come_are_not_doubled() -> None:
    """A header opens what its body will close."""
    one = gap(
        "    if (a",
        " > b) {\n        go();\n    }",
        above="void f() {\n",
        below="\n}\n",
        language_id="c",
    )
    assert names_of(one, " > 0) {") == set()
    assert names_of(one, " > 0) {\n        stop();\n    }") == set()
    assert names_of(one, " > 0) {\n        stop();\n    }\n}") == {"doubled-bracket"}


def test_unmatched_marks_are_counted_in_code_only() -> None:
    """Brackets in strings and comments are text."""
    assert num_unmatched("f(')') # (", "python") == 0
    assert num_unmatched("f(a))", "python") == 1
    assert num_unmatched("f([a)", "python") == 1
    assert num_unmatched("x = 'abc", "python") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("price_of(order.art", "length"),
        ("price_of(order.art", "repetition"),
        ('print("a lot of', "line"),
        ("price_of(order", "line"),
    ],
)
def test_cut_lines_are_found(text: str, reason: str) -> None:
    """Inside of a word, a string, a bracket."""
    one = gap("x = ", "price_of(order.article)", below="\ny = 2\n")
    assert names_of(one, text, reason=reason) == {"cut-line"}


def test_the_token_limit_cuts() -> None:
    """Whatever the text looks like, unless it ends a line."""
    one = gap("x = ", "f(a)")
    for text, count in (("f(a)", 1), ("f(a)\n", 0)):
        found = find_defects(one, Suggestion(text), is_cut_off=True)
        assert len(found) == count


@pytest.mark.parametrize(
    "text",
    [
        "price_of(order)",
        "price",
        "prices",
        "price_of(",
        "[",
        "price_of(order,",
        "'done'",
        "1 +",
    ],
)
def test_whole_lines_are_no_cuts(text: str) -> None:
    """Other code, another name, or a line that goes on below."""
    one = gap("x = ", "price_of(order.article)", below="\ny = 2\n")
    assert names_of(one, text, reason="line") == set()


# Settings, pictures ---------------------------------------------------------------


def test_settings_can_be_given_one_by_one() -> None:
    """As on the wire; what does not hold is an error, not a default."""
    changed = with_overrides(DEFAULTS, ["context=false", "multiLine=never"])
    assert (changed.context, changed.multi_line) == (False, "never")
    for wrong in ("context=perhaps", "nonsense=1", "context"):
        with pytest.raises(SettingsError):
            with_overrides(DEFAULTS, [wrong])


def test_pictures_escape_names_and_show_values() -> None:
    """Whatever a group is called."""
    picture = bars("saved", {"a<b": {"server": 0.5, "raw": 0.25}})
    assert "a&lt;b" in picture
    assert "50.0 %" in picture


def test_a_perfect_confidence_has_no_error() -> None:
    """And one that is always wrong has all of it."""
    assert calibration_error([(1.0, True)] * 5) == 0
    assert calibration_error([(1.0, False)] * 5) == 1
    assert reliability("c", [(0.5, True), (0.5, False)]).count("<circle") == 1


# The whole path -------------------------------------------------------------------


def test_a_folder_is_measured_from_end_to_end(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both paths, the table, the JSON and the page."""
    data, page = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["--model", "echo", "--cuts", "18", "--open", "1", "--seed", "3"]
    arguments += ["--places", ",".join(PLACES), "--set", "lookAhead=never"]
    arguments += ["--json", str(data), "--report", str(page)]
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    assert main(["eval", "repo", str(folder), *arguments]) == 0
    assert {path: path.read_bytes() for path in before} == before
    shown = capsys.readouterr().out
    assert "keystrokes" not in shown
    assert "server python" in shown
    found = json.loads(data.read_text("utf-8"))
    assert found["settings"]["debounceMs"] == 0
    for path in ("server", "raw"):
        answers = found["paths"][path]["answers"]
        assert len(answers) == 18
        assert found["paths"][path]["figures"]["gaps"] == 18
        assert {one["language"] for one in answers} == {"python", "go", "ruby"}
    server = found["paths"]["server"]["answers"]
    assert all(one["explanation"]["statistics"] for one in server)
    assert any(one["suggestion"] for one in server)
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "http" not in text.replace("http://www.w3.org", "")
    assert text.count("<svg") >= 3


def test_wrong_places_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place that is none, and one that needs open files."""
    assert main(["eval", "repo", str(folder), "--places", "anywhere"]) == 1
    assert "anywhere" in capsys.readouterr().err
    assert main(["eval", "repo", str(folder), "--places", "cross-file"]) == 1
    assert "--open" in capsys.readouterr().err
