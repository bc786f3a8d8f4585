"""Editor and server hold the same text, whatever is typed and however it is counted."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lsp_stablecode.document_store import Change, DocumentStore, uri_key
from lsp_stablecode.documents import (
    Document,
    PositionEncoding,
    num_units,
    split_lines,
)
from lsp_stablecode.errors import (
    DocumentDecodeError,
    DocumentError,
    DocumentNotFoundError,
    DocumentNotOpenError,
    PositionError,
    SettingsError,
)
from lsp_stablecode.files import path_of, read_document
from model.errors import StablecodeError

UTF8, UTF16, UTF32 = PositionEncoding
encodings = pytest.mark.parametrize("encoding", list(PositionEncoding))

# One, two, three and four bytes of UTF-8; a combining accent; lone surrogates; every
# line end of LSP, and everything else that str.splitlines takes for one.
CHARACTERS = "ab é中\u0301😀\ud800\udc00\r\n\f\x0b\x1c\x1d\x1e\x85\u2028\u2029"
texts = st.text(st.sampled_from(CHARACTERS), max_size=24) | st.text(
    st.sampled_from("a😀\r\n"), max_size=12
)
positions = st.tuples(st.integers(-1, 8), st.integers(-1, 14))
ranges = st.tuples(positions, positions)
changes = st.tuples(st.none() | ranges | ranges, texts)


# The client: slow, straight from the specification, and without a look at Document.


def unit_width(character: str, encoding: PositionEncoding) -> int:
    """Code units of one character."""
    code = ord(character)
    if encoding == "utf-32":
        return 1
    if encoding == "utf-16":
        return 2 if code > 0xFFFF else 1
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4


def client_lines(text: str) -> list[tuple[int, int]]:
    """Offsets where each line starts and where its content ends."""
    lines, start, at = [], 0, 0
    while at < len(text):
        if text[at] in "\r\n":
            lines.append((start, at))
            at += 2 if text[at : at + 2] == "\r\n" else 1
            start = at
        else:
            at += 1
    return [*lines, (start, len(text))]


def client_offset(
    text: str, line: int, character: int, encoding: PositionEncoding
) -> int:
    """Offset of a position, counted one character after the other."""
    lines = client_lines(text)
    if line >= len(lines):
        return len(text)
    at, end = lines[max(line, 0)]
    left = character
    while at < end and unit_width(text[at], encoding) <= left:
        left -= unit_width(text[at], encoding)
        at += 1
    return at


def client_edit(text: str, change: Change, encoding: PositionEncoding) -> str:
    """Return the text after a change."""
    range_, new = change
    if range_ is None:
        return new
    start, end = sorted(client_offset(text, *at, encoding) for at in range_)
    return text[:start] + new + text[end:]


def document_of(text: str, encoding: PositionEncoding = UTF16) -> Document:
    """Open a document with nothing special but its text."""
    return Document("file:///a.py", "python", 1, text, encoding)


class TestEdits:
    """Incremental sync."""

    @encodings
    @given(text=texts, edits=st.lists(changes, max_size=8))
    @example(text="a\r", edits=[(((1, 0), (1, 0)), "\nb")])
    @example(text="a\rx\nb", edits=[(((1, 0), (1, 1)), "")])
    @example(text="a\nb", edits=[(((0, 1), (0, 1)), "\r")])
    @example(text="a\r\nb", edits=[(((0, 1), (1, 0)), "\r")])
    @example(text="a\r\n\r\n\r\nb", edits=[(((1, 0), (2, 0)), "")])
    def test_agrees_with_the_client(
        self, encoding: PositionEncoding, text: str, edits: list[Change]
    ) -> None:
        """After every edit, text and lines are those of the client's text."""
        document = document_of(text, encoding)
        for change in edits:
            text = client_edit(text, change, encoding)
            document.apply_change(*change)
            assert list(document.lines) == split_lines(text)
            assert document.text == text
            assert document.num_lines == len(client_lines(text))

    @encodings
    @given(text=texts, edits=st.lists(changes, max_size=8))
    def test_caches_do_not_outlive_an_edit(
        self, encoding: PositionEncoding, text: str, edits: list[Change]
    ) -> None:
        """Reading text and offsets between edits changes nothing."""
        read, unread = document_of(text, encoding), document_of(text, encoding)
        for change in edits:
            assert read.offset_at(5, 2) == client_offset(read.text, 5, 2, encoding)
            read.apply_change(*change)
            unread.apply_change(*change)
        assert read.text == unread.text
        assert read.offset_at(5, 2) == unread.offset_at(5, 2)

    def test_a_line_end_typed_in_two_halves_is_one(self) -> None:
        r"""A ``\n`` put after a line that ends with ``\r`` makes one line end."""
        document = document_of("a\rb")
        document.apply_change(((1, 0), (1, 0)), "\n")
        assert document.lines == ["a\r\n", "b"]

    def test_a_reversed_range_is_turned_round(self) -> None:
        """A range whose end is before its start replaces the same text."""
        document = document_of("one two")
        document.apply_change(((0, 7), (0, 4)), "2")
        assert document.text == "one 2"

    def test_a_range_may_reach_past_the_end(self) -> None:
        """Editors replace everything by a range to a line that is not there."""
        document = document_of("a\nb\n")
        document.apply_change(((0, 0), (2**31 - 1, 2**31 - 1)), "c")
        assert document.text == "c"

    def test_an_edit_costs_its_own_lines_only(self) -> None:
        """Typing in 10,000 lines is far below a millisecond; 5 ms allow for noise."""
        document = document_of('    naïve = "😀" + value\n' * 10_000)
        seconds = []
        for key in range(200):
            line = key * 49
            edit = "x\n" if key % 2 else "x"
            started = time.perf_counter()
            document.apply_change(((line, 8), (line, 9)), edit)
            seconds.append(time.perf_counter() - started)
        assert statistics.median(seconds) < 5e-3


class TestLines:
    """What a line is."""

    @given(texts)
    def test_lines_are_lsp_lines(self, text: str) -> None:
        r"""Lines end at ``\n``, ``\r\n`` and ``\r`` only, and are the whole text."""
        document = document_of(text)
        assert "".join(document.lines) == text
        contents = [text[start:end] for start, end in client_lines(text)]
        assert [document.line_text(n) for n in range(len(contents))] == contents

    @pytest.mark.parametrize("text", ["", "a", "\n", "\r", "\r\n", "\n\r", "a\n"])
    def test_the_last_line_has_no_end(self, text: str) -> None:
        """There is one line more than line ends, if need be an empty one."""
        document = document_of(text)
        assert document.num_lines == len(client_lines(text))
        assert not document.lines[-1].endswith(("\r", "\n"))

    @pytest.mark.timeout(10)
    @pytest.mark.parametrize("end", ["", "\n"])
    def test_a_long_line_takes_linear_time(self, end: str) -> None:
        """A minified file opens and is edited at once; quadratic time is hours."""
        document = document_of("😀x" * 500_000 + end)
        document.apply_change(((0, 1_000_000), (0, 1_000_000)), "y")
        assert len(document.text) == 1_000_001 + len(end)

    @pytest.mark.parametrize("line", [-1, 2, 99])
    def test_a_line_outside_is_empty(self, line: int) -> None:
        """Asking for a line that is not there is no error."""
        assert document_of("a\nb").line_text(line) == ""


class TestPositions:
    """Conversion, the same in both directions."""

    @encodings
    @given(text=texts, position=positions)
    def test_offset_agrees_with_the_client(
        self, encoding: PositionEncoding, text: str, position: tuple[int, int]
    ) -> None:
        """Any position, inside or outside the text, is where the client sees it."""
        document = document_of(text, encoding)
        assert document.offset_at(*position) == client_offset(text, *position, encoding)

    @encodings
    @given(text=texts)
    def test_every_offset_comes_back(
        self, encoding: PositionEncoding, text: str
    ) -> None:
        r"""Offset to position to offset is the identity, except within ``\r\n``."""
        document = document_of(text, encoding)
        for offset in range(len(text) + 1):
            within = text[offset - 1 : offset + 1] == "\r\n" and offset > 0
            position = document.position_at(offset)
            assert document.offset_at(*position) == offset - within

    @encodings
    @given(text=texts, position=positions)
    def test_a_position_settles(
        self, encoding: PositionEncoding, text: str, position: tuple[int, int]
    ) -> None:
        """A position put right once stays as it is."""
        document = document_of(text, encoding)
        settled = document.position_at(document.offset_at(*position))
        assert document.position_at(document.offset_at(*settled)) == settled
        line, column = document.locate(*position)
        assert (line, document.character_at(line, column)) == settled

    @given(texts)
    def test_units_are_the_codec_s(self, text: str) -> None:
        """Units are counted as the encodings define them."""
        for encoding in PositionEncoding:
            widths = [unit_width(character, encoding) for character in text]
            assert num_units(text, encoding) == sum(widths)

    @pytest.mark.parametrize(
        ("position", "offset"),
        [
            ((0, 99), 2),
            ((1, 99), 6),
            ((9, 0), 6),
            ((-1, 1), 1),
            ((0, -5), 0),
            ((-3, -3), 0),
            ((2**31 - 1, 2**31 - 1), 6),
        ],
    )
    def test_positions_are_clamped(
        self, position: tuple[int, int], offset: int
    ) -> None:
        """Past a line: before its end; past the last line: the end; negative: 0."""
        assert document_of("ab\r\ncd").offset_at(*position) == offset

    @pytest.mark.parametrize(("offset", "position"), [(-1, (0, 0)), (99, (1, 2))])
    def test_offsets_are_clamped(self, offset: int, position: tuple[int, int]) -> None:
        """An offset outside the text is its start or its end."""
        assert document_of("ab\ncd").position_at(offset) == position

    @pytest.mark.parametrize(
        ("encoding", "units"),
        [(UTF8, [0, 0, 0, 0, 1, 1, 2, 3]), (UTF16, [0, 0, 1, 2, 3])],
    )
    def test_within_a_character_is_its_start(
        self, encoding: PositionEncoding, units: list[int]
    ) -> None:
        """A position between the units of one character rounds down."""
        document = document_of("😀éx", encoding)
        columns = [document.locate(0, n)[1] for n in range(len(units))]
        assert columns == units

    def test_lone_surrogates_count(self) -> None:
        """Half an emoji, which JSON can carry, has a width and raises nothing."""
        widths = [document_of("\ud800x", e).character_at(0, 1) for e in (UTF8, UTF16)]
        assert widths == [3, 1]


class TestWindows:
    """The text around a position, without the whole text."""

    @encodings
    @given(text=texts, position=positions, max_lines=st.integers(-1, 6))
    def test_windows_are_the_text_around(
        self,
        encoding: PositionEncoding,
        text: str,
        position: tuple[int, int],
        max_lines: int,
    ) -> None:
        """The windows are at most so many lines of the text, cut at the position."""
        document = document_of(text, encoding)
        offset = client_offset(text, *position, encoding)
        prefix, start_line = document.prefix_window(*position, max_lines)
        suffix = document.suffix_window(*position, max_lines)
        line, _ = document.locate(*position)
        end_line = line + max(max_lines, 1)
        starts = [start for start, _ in client_lines(text)]
        end = starts[end_line] if end_line < len(starts) else len(text)
        assert start_line == max(0, line - max(max_lines, 1) + 1)
        assert (prefix, suffix) == (text[starts[start_line] : offset], text[offset:end])
        assert document.split_at(*position) == (text[:offset], text[offset:])


class TestStore:
    """Which documents are open."""

    def test_life_of_a_document(self) -> None:
        """Opened, changed in order, closed; the version is whatever came last."""
        store = DocumentStore(UTF8)
        store.open("file:///a.py", "python", 7, "é = 1")
        document = store.change(
            "file:///a.py", 3, [(((0, 2), (0, 2)), "2"), (((0, 3), (0, 3)), "3")]
        )
        assert (document.text, document.version) == ("é23 = 1", 3)
        assert store.change("file:///a.py", None, [(None, "")]).version is None
        assert "file:///a.py" in store
        assert len(store) == 1
        store.close("file:///a.py")
        store.close("file:///a.py")
        assert "file:///a.py" not in store

    def test_an_unopened_document_is_named(self) -> None:
        """Request, change and notebook change say what is not open and what to do."""
        store = DocumentStore()
        with pytest.raises(DocumentNotOpenError, match=r"a\.py is not open") as raised:
            store.get("file:///a.py")
        assert raised.value.hint
        with pytest.raises(DocumentNotOpenError):
            store.change("file:///a.py", 1, [])
        with pytest.raises(DocumentNotOpenError):
            store.notebook_context("file:///a.py")
        with pytest.raises(DocumentNotOpenError):
            store.change_cells("file:///a.ipynb", 0, 0)

    @pytest.mark.parametrize(
        ("opened", "asked"),
        [
            ("file:///c%3A/a.py", "file:///c:/a.py"),
            ("file:///c:/a%20b.py", "file:///c%3a/a b.py"),
            ("file:///n%C3%A4h.py", "file:///näh.py"),
        ],
    )
    def test_spellings_of_a_uri_are_one_document(self, opened: str, asked: str) -> None:
        """Percent-encoding does not tell two documents apart."""
        store = DocumentStore()
        document = store.open(opened, "python", 1, "")
        assert store.get(asked) is document
        assert document.uri == opened

    def test_bytes_that_are_no_utf8_are_told_apart(self) -> None:
        """Two Latin-1 file names do not become one key."""
        assert uri_key("file:///%E4") != uri_key("file:///%E5")

    def test_most_recently_used_first(self) -> None:
        """Opening, changing and asking count as use, also while iterating."""
        store = DocumentStore()
        for name in "abcd":
            store.open(name, "python", 1, "")
        store.change("b", 2, [])
        store.get("a")
        store.open("c", "python", 1, "")
        assert [store.get(document.uri).uri for document in store] == list("cabd")

    def test_the_encoding_is_that_of_the_store(self) -> None:
        """Documents count in the encoding negotiated before they were opened."""
        store = DocumentStore()
        store.encoding = UTF32
        assert store.open("a", "python", 1, "").encoding is UTF32


class TestNotebooks:
    """Cells are documents with neighbours."""

    @pytest.fixture
    def store(self) -> DocumentStore:
        """Open a notebook of four cells, of which the second is prose."""
        store = DocumentStore()
        cells = [
            ("cell:1", "python", 1, "one"),
            ("cell:2", "markdown", 1, "two"),
            ("cell:3", "python", 1, "three"),
            ("cell:4", "python", 1, "four"),
        ]
        store.open_notebook("file:///n.ipynb", "jupyter-notebook", cells)
        return store

    def test_neighbours_in_order(self, store: DocumentStore) -> None:
        """A cell sees the code before and after it, and no prose."""
        assert store.notebook_context("cell:3") == (["one"], ["four"])
        assert store.notebook_context("cell%3A1") == ([], ["three", "four"])

    def test_a_plain_document_has_none(self, store: DocumentStore) -> None:
        """A file that is open besides the notebook sees no cells."""
        store.open("file:///a.py", "python", 1, "")
        assert store.notebook_context("file:///a.py") == ([], [])
        assert store.notebook_of("file:///a.py") is None

    def test_a_cell_is_edited_like_a_document(self, store: DocumentStore) -> None:
        """A change of one cell is what the others see."""
        store.change("cell:1", 2, [(((0, 3), (0, 3)), " = 1")])
        assert store.notebook_context("cell:3")[0] == ["one = 1"]

    def test_cells_come_and_go(self, store: DocumentStore) -> None:
        """Replaced cells are closed, new ones opened, in their place."""
        store.change_cells(
            "file:///n.ipynb",
            0,
            2,
            ["cell:5"],
            opened=[("cell:5", "python", 1, "five")],
            closed=["cell:1", "cell:2"],
        )
        assert store.notebook_context("cell:3") == (["five"], ["four"])
        assert "cell:1" not in store

    def test_a_moved_cell_stays_open(self, store: DocumentStore) -> None:
        """A move is a change of order with nothing opened or closed."""
        order = ["cell:4", "cell:1", "cell:2", "cell:3"]
        store.change_cells("file:///n.ipynb", 0, 4, order)
        assert store.notebook_context("cell:3") == (["four", "one"], [])

    def test_a_cell_without_a_document_is_left_out(self, store: DocumentStore) -> None:
        """An editor that lists a cell it never opened does no harm."""
        store.change_cells("file:///n.ipynb", -1, -1, ["cell:9"])
        assert store.notebook_context("cell:1") == ([], ["three", "four"])

    def test_closing_closes_the_cells(self, store: DocumentStore) -> None:
        """A closed notebook leaves nothing behind; closing again is no error."""
        store.open("file:///a.py", "python", 1, "")
        store.close_notebook("file:///n.ipynb")
        store.close_notebook("file:///n.ipynb")
        assert [document.uri for document in store] == ["file:///a.py"]

    def test_opening_again_replaces(self, store: DocumentStore) -> None:
        """A notebook opened twice has the cells of the second time."""
        cells = [("cell:1", "python", 1, "1"), ("cell:3", "python", 1, "3")]
        notebook = store.open_notebook("file:///n.ipynb", "jupyter-notebook", cells)
        assert store.notebook_of("cell:3") is notebook
        assert store.notebook_context("cell:3") == (["1"], [])
        assert len(store) == 2


class TestFiles:
    """Documents and paths on disk."""

    @pytest.mark.parametrize(
        ("uri", "windows", "path"),
        [
            ("file:///home/a.py", False, "/home/a.py"),
            ("FILE:///home/a.py", False, "/home/a.py"),
            ("file:/home/a.py", False, "/home/a.py"),
            ("file://localhost/a.py", False, "/a.py"),
            ("file:///n%C3%A4h/%E4%B8%AD%20b.py", False, "/näh/中 b.py"),
            ("file:///näh.py", False, "/näh.py"),
            ("file:///C%23/50%25.py", False, "/C#/50%.py"),
            ("file:///n.ipynb?x#cell", False, "/n.ipynb"),
            ("file:///latin%E4.py", False, "/latin\udce4.py"),
            ("file:///c%3A/a.py", False, "/c:/a.py"),
            ("file:///c%3A/a%20b.py", True, "c:/a b.py"),
            ("file:///C:/a.py", True, "C:/a.py"),
            ("file://server/share/a.py", True, "//server/share/a.py"),
            ("file://wsl%24/Ubuntu/a.py", True, "//wsl$/Ubuntu/a.py"),
            ("file:////server/share/a.py", True, "//server/share/a.py"),
        ],
    )
    def test_path_of_a_file_uri(self, uri: str, windows: bool, path: str) -> None:
        """Drives, shares, spaces and all alphabets come through."""
        assert path_of(uri, windows=windows) == Path(path)

    @pytest.mark.parametrize(
        "uri",
        [
            "untitled:Untitled-1",
            "vscode-notebook-cell:/n.ipynb#W0",
            "file:a.py",
            "file://host",
            "file:",
            "/home/a.py",
            "",
        ],
    )
    def test_other_uris_have_no_path(self, uri: str) -> None:
        """What is not an absolute path on disk is none."""
        assert path_of(uri) is None

    def test_path_and_uri_agree(self, tmp_path: Path) -> None:
        """A file's own URI leads back to it."""
        path = tmp_path / "C# näh 中 50%.py"
        path.write_bytes(b"")
        assert path_of(read_document(path).uri) == path

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_a_file_is_read_as_it_is(self, tmp_path: Path, mark: bytes) -> None:
        """Line ends are kept; a byte order mark is no character."""
        path = tmp_path / "a.py"
        path.write_bytes(mark + "é\r\nb\rc\n".encode())
        document = read_document(path, "python")
        assert document.lines == ["é\r\n", "b\r", "c\n", ""]
        assert document.offset_at(0, 1) == 1
        assert (document.language_id, document.version) == ("python", None)

    @pytest.mark.parametrize("content", [b"ab\xff", "naïve".encode("utf-16")])
    def test_other_encodings_are_refused(self, tmp_path: Path, content: bytes) -> None:
        """The error says that the file is not UTF-8, and what to do."""
        path = tmp_path / "a.py"
        path.write_bytes(content)
        with pytest.raises(DocumentDecodeError, match="is not UTF-8") as raised:
            read_document(path)
        assert raised.value.hint

    @pytest.mark.parametrize("name", ["missing.py", "a\0.py", "file/a.py"])
    def test_a_missing_file_is_named(self, tmp_path: Path, name: str) -> None:
        """A path that leads nowhere gives the path and the reason."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DocumentNotFoundError, match="cannot be read: ") as raised:
            read_document(tmp_path / name)
        assert raised.value.hint

    def test_a_directory_is_called_one(self, tmp_path: Path) -> None:
        """A directory is not reported as missing."""
        with pytest.raises(DocumentNotFoundError, match="is a directory"):
            read_document(tmp_path)


def test_errors_are_in_the_tree() -> None:
    """Whoever catches ``StablecodeError`` catches these, with text and hint."""
    for error in (
        DocumentNotFoundError,
        DocumentDecodeError,
        DocumentNotOpenError,
        PositionError,
    ):
        assert issubclass(error, DocumentError)
    assert issubclass(DocumentError, StablecodeError)
    assert str(SettingsError("It is bad.", hint="Mend it.")) == "It is bad. Mend it."


def _cell(uri: str) -> tuple[str, str, int | None, str]:
    return uri, "python", 1, ""


def test_the_notebook_of_a_cell_follows_all_changes() -> None:
    """Cells that come, move, go, or change their notebook are found where they are."""
    store = DocumentStore()
    store.open_notebook("n:1", "jupyter", [_cell("c%3A1"), _cell("c:2")])
    first = store.notebook_of("c:1")
    assert first is not None
    assert store.notebook_of("c%3A2") is first
    store.change_cells("n:1", 0, 2, ["c:3", "c:2"], opened=[_cell("c:3")])
    assert store.notebook_of("c:1") is None
    assert store.notebook_of("c:2") is store.notebook_of("c:3") is first
    second = store.open_notebook("n:2", "jupyter", [_cell("c:3")])
    assert store.notebook_of("c:3") is second
    store.close_notebook("n:1")
    assert store.notebook_of("c:2") is None
    assert store.notebook_of("c:3") is second
    again = store.open_notebook("n:2", "jupyter", [_cell("c:4")])
    assert store.notebook_of("c:3") is None
    assert store.notebook_of("c:4") is again
