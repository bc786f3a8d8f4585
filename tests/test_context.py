"""What is gathered for a prompt: found, ranked, shown, and never what is private."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_stablecode.context import gather
from lsp_stablecode.context.chunks import chunks_of
from lsp_stablecode.context.edits import EditedRegion
from lsp_stablecode.context.far import far_parts
from lsp_stablecode.context.gather import (
    Gatherer,
    OpenText,
    Surroundings,
    display_path,
    prepare,
    repository_name,
)
from lsp_stablecode.context.place import Cursor
from lsp_stablecode.context.privacy import Privacy
from lsp_stablecode.context.words import subwords
from lsp_stablecode.languages import language_of
from model import ContextChunk

_ROOT = Path("/shop")

FILES = {
    "orders.py": "class Order:\n"
    '    """What a customer wants."""\n'
    "    def __init__(self, customer, lines):\n"
    "        self.customer = customer\n"
    "        self.lines = lines\n"
    "    def total_cents(self):\n"
    "        return sum(line.cents for line in self.lines)\n\n\n"
    "def open_orders(database):\n"
    "    return database.query('orders', state='open')\n",
    "customers.py": "def find_customer_by_email(database, address):\n"
    "    return database.query_one('customers', email=address)\n\n\n"
    "def rename_customer(database, customer, name):\n"
    "    database.update('customers', customer, name=name)\n",
    "shipping.py": "CARRIERS = ['post', 'bike']\n\n\n"
    "def estimate_delivery_days(order, country):\n    return 3\n\n\n"
    "def print_label(parcel):\n    pass\n",
    "taxes.py": "def value_added_tax(cents, country):\n    return cents * 19 // 100\n",
    "mail.py": "def send_confirmation(order, template='plain'):\n    pass\n\n\n"
    "def render_template(name, **values):\n    return name\n",
    "stock.py": "class Warehouse:\n"
    "    def reserve_items(self, order):\n        pass\n\n"
    "    def release_items(self, order):\n        pass\n",
    "prices.py": "def discounted_price(cents, percent):\n    return cents\n",
    "reports.py": "def monthly_revenue(orders, month):\n    return 0\n",
    "web.py": "def handle_request(request):\n    return 200\n",
    "style.css": ".order { color: red; }\n",
}


def _open(name: str, text: str, version: int = 1) -> OpenText:
    path = _ROOT / name
    return OpenText(path.as_uri(), path, language_of(path), version, text)


OTHERS = tuple(_open(name, text) for name, text in FILES.items())


def _place(
    text: str, name: str = "checkout.py", others: tuple[OpenText, ...] = OTHERS
) -> Surroundings:
    """Return the place at ``|`` in a text."""
    prefix, _, suffix = text.partition("|")
    path = _ROOT / name
    return Surroundings(
        uri=path.as_uri(),
        path=path,
        language_id=language_of(path),
        prefix=prefix,
        suffix=suffix,
        line=prefix.count("\n"),
        others=others,
        folders=(_ROOT,),
    )


def _count(text: str) -> int:
    return len(text) // 3 + 1


def _gather(
    place: Surroundings, gatherer: Gatherer | None = None, budget: int = 300
) -> tuple[ContextChunk, ...]:
    return (gatherer or Gatherer()).gather(place, budget, _count)


def _text(chunks: Iterable[ContextChunk]) -> str:
    return "".join(one.text for one in chunks)


# The text at the cursor, and the file that defines what is wanted there.
PLACES = [
    ("from shop.mail import send_confirmation\n\n\ndef done(order):\n    |", "mail.py"),
    ("def done(order):\n    # e-mail the customer a confirmation of the order\n    |",
     "mail.py"),
    ("def days(order):\n    return estim|", "shipping.py"),
    ("def tax(order, country):\n    return value_|\n", "taxes.py"),
    ("stock = Warehouse()\n\n\ndef hold(order):\n    stock.|", "stock.py"),
    ("import prices\n\n\ndef cheaper(cents):\n    return prices.|", "prices.py"),
    ("def revenue(orders):\n    '''Sum up this month's revenue.'''\n    return |",
     "reports.py"),
    ("def owner(database, email):\n    customer = find|\n    return customer",
     "customers.py"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PLACES)
def test_the_file_that_defines_what_is_wanted_wins(text: str, expected: str) -> None:
    """Of ten open files it stands last, next to the document."""
    chunks = _gather(_place(text), budget=120)
    assert chunks[-1].path == expected


def test_signatures_are_shown_by_file_with_paths() -> None:
    """The model is shown an outline: headers under their file's name."""
    chunks = _gather(_place("from orders import Order\n\n\norder = Order(|"), budget=90)
    last = chunks[-1]
    assert last.path == "orders.py"
    assert last.source == "import"
    assert last.text.startswith(
        "class Order:\n"
        "    def __init__(self, customer, lines): ...\n"
        "    def total_cents(self): ...\n"
    )
    assert all(one.text.endswith("\n") for one in chunks)


def test_a_large_type_lends_its_members_its_header() -> None:
    """A member of a type with many of them is shown under the type's header."""
    methods = "".join(
        f"    def method_number_{n}(self, first, second):\n        pass\n\n"
        for n in range(40)
    )
    other = _open("big.py", f"class Big(Base):\n{methods}")
    place = _place("big = Big()\nbig.method_number_7|", others=(other,))
    (chunk,) = _gather(place, budget=50)
    assert chunk.text == (
        "class Big(Base):\n    def method_number_7(self, first, second): ...\n"
    )


def test_typing_keeps_the_context() -> None:
    """Over a whole function typed key by key, the prompt's beginning hardly changes."""
    gatherer = Gatherer()
    typed = (
        "def checkout(database, address, lines):\n"
        "    customer = find_customer_by_email(database, address)\n"
        "    order = Order(customer, lines)\n"
        "    days = estimate_delivery_days(order, customer.country)\n"
        "    send_confirmation(order, 'long')\n"
        "    return days\n"
    )
    seen = []
    for end in range(len(typed)):
        seen.append(_gather(_place(typed[:end] + "|\n\n\nmain()\n"), gatherer))
    changes = sum(one != other for one, other in pairwise(seen))
    assert changes <= 2
    by_line: dict[int, set[str]] = {}
    for end, one in enumerate(seen):
        by_line.setdefault(typed.count("\n", 0, end), set()).add(_text(one))
    assert all(len(texts) <= 2 for texts in by_line.values())


def test_a_changed_document_is_shown_as_it_was_until_the_next_choice() -> None:
    """An edit elsewhere does not make everything be computed again."""
    gatherer = Gatherer()
    text = "from taxes import value_added_tax\n\n\nprint(|)\n"
    before = _gather(_place(text), gatherer)
    changed = tuple(
        replace(one, version=2, text=one.text.replace("cents", "amount"))
        for one in OTHERS
    )
    assert _gather(_place(text, others=changed), gatherer) == before
    gatherer.forget(_place(text).uri)
    after = _gather(_place(text, others=changed), gatherer)
    assert "value_added_tax(amount, country)" in _text(after)


def test_closed_and_gone_leaves() -> None:
    """A closed document of which there is no file is not shown any more."""
    gatherer = Gatherer()
    text = "from taxes import value_added_tax\n\n\nprint(|)\n"
    assert "value_added_tax" in _text(_gather(_place(text), gatherer))
    rest = tuple(one for one in OTHERS if one.path != _ROOT / "taxes.py")
    assert "value_added_tax" not in _text(_gather(_place(text, others=rest), gatherer))


@pytest.mark.parametrize("name", [".env", "server.key", "private/a.py", "ignored.py"])
def test_private_documents_never_enter(name: str, tmp_path: Path) -> None:
    """Not even when they are open; and they get no context themselves."""
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    path = tmp_path / name
    other = OpenText(path.as_uri(), path, "python", 1, "def secret_name():\n    pass\n")
    privacy = Privacy([tmp_path], ["private/"])
    place = replace(_place("secret_|", others=(other,)), privacy=privacy)
    assert _gather(place) == ()
    own = replace(place, uri=other.uri, path=path, others=OTHERS)
    assert _gather(own) == ()


def test_imported_files_are_shown_though_not_open(tmp_path: Path) -> None:
    """What an import leads to is read from disk."""
    (tmp_path / "shapes.py").write_text("def area_of(shape, scale=1):\n    pass\n")
    text = "from shapes import area_of\n\nprint(|"
    path = tmp_path / "main.py"
    place = replace(
        _place(text, others=()), path=path, uri=path.as_uri(), folders=(tmp_path,)
    )
    (chunk,) = _gather(place)
    assert (chunk.path, chunk.source) == ("shapes.py", "import")
    assert chunk.text == "def area_of(shape, scale=1): ...\n"


def test_far_parts_of_the_document_itself_are_candidates() -> None:
    """What the window cannot hold is shown as if it were another file."""
    filler = "".join(f"VALUE_{n} = {n}\n" for n in range(3000))
    text = f"def convert_currency(cents, rate):\n    pass\n\n\n{filler}\nprint(conv|"
    chunks = _gather(_place(text, others=()), budget=100)
    assert "def convert_currency(cents, rate): ...\n" in _text(chunks)
    assert chunks[0].path == "checkout.py"


def test_edited_regions_rank_higher() -> None:
    """Of two that read alike, the one that was edited lately is shown."""
    body = "def {}_step(count):\n    for step in range(count):\n        print(step)\n"
    others = tuple(_open(f"{n}.py", body.format(n)) for n in ("first", "second"))
    place = _place("for step in range(count):\n    |", others=others)
    for chosen in others:
        edited = replace(place, edits=(EditedRegion(chosen.uri, 0, 1),))
        assert _gather(edited, budget=200)[-1].path == display_path(
            chosen.path, place.folders
        )


def test_plain_lines_where_there_is_no_grammar() -> None:
    """Documents in any language are cut at blank lines."""
    paragraphs = "\n\n".join(
        "\n".join(f"word{n} line {line}" for line in range(12)) for n in range(8)
    )
    other = _open("notes.txt", paragraphs)
    chunks = chunks_of(other.uri, other.path, "plaintext", other.text)
    assert {one.kind for one in chunks} == {"lines"}
    assert all(one.last_line - one.first_line < 32 for one in chunks)
    found = _gather(_place("word5 line|", "more.txt", (other,)), budget=400)
    assert "word5" in _text(found)


def test_a_very_long_document_is_cut_and_not_refused() -> None:
    """Only the part around the newest edit is looked at, or the beginning."""
    text = "".join(f"def function_{n}(a):\n    pass\n\n\n" for n in range(20_000))
    other = _open("long.py", text)
    first = chunks_of(other.uri, other.path, "python", text)
    assert first[0].names == ("function_0",)
    edited = chunks_of(other.uri, other.path, "python", text, [(60_000, 60_001)])
    around = [one for one in edited if one.first_line == 60_000]
    assert around[0].names == ("function_15000",)


def test_line_ends_of_windows_are_the_same() -> None:
    r"""`\r\n` in a document makes no other context."""
    windows = tuple(replace(one, text=one.text.replace("\n", "\r\n")) for one in OTHERS)
    text = "from orders import Order\n\n\norder = Order(|"
    assert _gather(_place(text, others=windows)) == _gather(_place(text))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 600), st.sampled_from(PLACES))
def test_the_budget_holds(budget: int, place: tuple[str, str]) -> None:
    """Texts and paths together are never more than the budget."""
    chunks = _gather(_place(place[0]), budget=budget)
    assert sum(_count(one.text) for one in chunks) <= budget


def test_the_same_again_is_the_same() -> None:
    """Nothing depends on chance, or on the order of a set."""
    for text, _ in PLACES:
        assert _gather(_place(text)) == _gather(_place(text))


def test_what_it_costs() -> None:
    """Generous bounds: a busy machine passes, a tenfold slip does not."""
    prepare()
    body = "".join(
        f"def function_{n}(first, second=None):\n"
        "    value = first + 1\n    if second:\n        value += second\n"
        "    for one in range(value):\n        print(one, second)\n"
        "    return value\n\n\n"
        for n in range(55)
    )
    others = tuple(
        _open(f"m{n}.py", body.replace("function", f"work_{n}")) for n in range(10)
    )
    gatherer = Gatherer()
    started = time.process_time()
    _gather(_place("work_3|", others=others), gatherer, 800)
    assert time.process_time() - started < 1
    started = time.process_time()
    for end in range(100):
        _gather(_place("work_3" + "x" * end + "|", others=others), gatherer, 800)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("prefix", "typed", "receiver", "receiver_type"),
    [
        ("x = read_fi", "read_fi", "", ""),
        ("value = Shape(1)\nvalue.", "", "value", "Shape"),
        ("Shape *value = 0;\nvalue->ar", "ar", "value", "Shape"),
        ("func f(s: Shape) {\n s?.ar", "ar", "s", "Shape"),
        ("let v: Vec<u8> = x;\nv::", "", "v", "Vec"),
        ("shop.find(1).na", "na", "find", ""),
        ("3.1", "", "", ""),
    ],
)
def test_the_cursor(prefix: str, typed: str, receiver: str, receiver_type: str) -> None:
    """What is being typed, and on what, is read from the text before it."""
    cursor = Cursor.at(prefix, "\n")
    assert (cursor.typed, cursor.receiver, cursor.receiver_type) == (
        typed,
        receiver,
        receiver_type,
    )


def test_words() -> None:
    """Identifiers are found by their parts, however they are written."""
    assert subwords("parseHTTPHeaders_v2") == ("parse", "http", "header")
    assert subwords("find_customer_by_email") == ("find", "customer", "email")


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 500))
def test_far_parts_are_whole_lines_of_the_document(
    num_above: int, num_below: int, reach: int
) -> None:
    """They do not overlap the window, and their line numbers are right."""
    lines = [f"line {n}" for n in range(num_above + num_below)]
    prefix = "".join(f"{one}\n" for one in lines[:num_above])
    suffix = "\n" + "\n".join(lines[num_above:])
    whole = (prefix + suffix).split("\n")
    for part in far_parts(prefix, suffix, num_above, reach):
        shown = part.text.split("\n")
        assert whole[part.first_line : part.first_line + len(shown)] == shown


def test_names_and_paths() -> None:
    """Paths are relative to the workspace; of others only the name is told."""
    folders = (Path("/work/shop"), Path("/work/lib"))
    assert display_path(Path("/work/lib/a/b.py"), folders) == "a/b.py"
    assert display_path(Path("/home/me/b.py"), folders) == "b.py"
    assert repository_name(folders, Path("/work/lib/a.py")) == "lib"
    assert repository_name(folders, None) == "shop"
    assert repository_name((), None) == ""


@pytest.mark.parametrize(
    "piece",
    ["a", "A", "A ", "A<", "a.", "a::", "client ", "client:", "client=", " ", "*"],
)
def test_a_place_is_read_in_linear_time(piece: str) -> None:
    """Long words and runs of blanks above the cursor cost no more than other text."""
    many = piece * (16_000 // len(piece))
    for text in (
        f'K = "{many}"\nclient = make()\nclient.',
        f"client = {many}\nclient.",
    ):
        started = time.process_time()
        Cursor.at(text, "")
        assert time.process_time() - started < 1.5


def test_the_type_of_a_receiver() -> None:
    """It is told by how it was made, else by how it was declared."""
    for text in (
        "client = new Client()",
        "client := &http.Client{}",
        "client = Client.create()",
        "List<A> x; Client *client",
        "Client<A> client;",
    ):
        assert Cursor.at(f"{text}\nclient.", "").receiver_type == "Client"


class _Counter:
    """A model's tokeniser, with so many characters in a token."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.num_asked = 0

    def count(self, text: str) -> int:
        self.num_asked += 1
        return len(text) // self.width + 1


def test_another_model_counts_anew() -> None:
    """What one model's tokeniser counted says nothing of another's."""
    gatherer = Gatherer()
    place = _place("def f(order):\n    value_added_tax(|")
    first, second = _Counter(3), _Counter(3)
    gatherer.gather(place, 400, first.count)
    num_asked = first.num_asked
    gatherer.gather(place, 400, first.count)
    assert first.num_asked == num_asked > 0
    gatherer.forget(place.uri)
    gatherer.gather(place, 400, second.count)
    assert second.num_asked > 0


def test_texts_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long documents that were open once do not stay in memory for ever."""
    monkeypatch.setattr(gather, "_MOST_CHARACTERS_CACHED", 10_000)
    gatherer = Gatherer()
    for number in range(10):
        long = _open(f"long{number}.py", f"def taxes_{number}():\n    pass\n\n\n" * 150)
        _gather(_place("taxes_|", others=(long,)), gatherer)
    kept = [len(one.text) for one in gatherer._cuts.values()]
    assert 0 < sum(kept) < gatherer._cuts.currsize <= 10_000
    for key in list(gatherer._cuts):
        gatherer.note_close(key)
    _gather(_place("|", others=()), gatherer)
    assert not gatherer._cuts


def test_all_that_may_be_looked_at_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: what were dropped of it would be cut anew each time."""
    cut: list[str] = []

    def chunks(uri: str, *rest: object) -> object:
        cut.append(uri)
        return chunks_of(uri, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gather, "chunks_of", chunks)
    gatherer = Gatherer()
    long = "# taxes of all orders, and what else there is\n" * 5_000
    others = tuple(_open(f"long{number}.md", long) for number in range(63))
    log = _open("log.txt", long * 30)
    for typed in "tax":
        _gather(_place(f"{typed}|", others=(*others, log)), gatherer)
        gatherer._kept.clear()
    assert len(cut) == len(set(cut)) >= 64
