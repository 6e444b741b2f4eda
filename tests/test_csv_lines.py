"""A table and a template: what is written comes out again, and what is wrong is told by line."""

from __future__ import annotations

import csv
import io
import json
import time
import tracemalloc
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.csv_lines import DELIMITERS, TableReader, Template, find_delimiter
from jobs.jsonl import LineChecker

# Without the ends of lines that the csv module would tell apart from those of the rows.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


def _read(
    table: str | bytes | IO[bytes], *, max_rows: int = 100, **changes: object
) -> tuple[list[dict], TableReader]:
    template = Template(model="small", **{"user": "{a}", **changes})
    reader = TableReader(
        template=template, max_rows=max_rows, max_findings=50, max_line_bytes=100_000
    )
    content = table.encode() if isinstance(table, str) else table
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    return [json.loads(line) for line in reader.read(file)], reader


def _told(reader: TableReader) -> list[tuple[int | None, str]]:
    return [(one.line, one.message) for one in reader.findings]


def _message(line: dict) -> str:
    return line["body"]["messages"][-1]["content"]


def _written(rows: list[list[str]], delimiter: str, end: str = "\r\n") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()


@given(
    st.lists(NAME, min_size=2, max_size=5, unique=True),
    st.data(),
    st.sampled_from(DELIMITERS),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_every_cell_comes_out_as_it_was_written(header, data, delimiter, end, has_mark):
    row = st.lists(TEXT, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(row.filter(lambda cells: any(c.strip() for c in cells)), max_size=6))
    table = _written([header, *rows], delimiter, end)
    mark = b"\xef\xbb\xbf" if has_mark else b""
    user = "<".join(f"{{{name}}}" for name in header)
    made, reader = _read(mark + table.encode(), user=user)
    if rows:
        assert _told(reader) == []
    assert [_message(line) for line in made] == ["<".join(cells) for cells in rows]
    assert [line["custom_id"] for line in made] == [f"row-{n + 2}" for n in range(len(rows))]


@given(st.binary(max_size=300), st.sampled_from(["{a}", "{", "{{}}", "{a}{a}"]))
def test_any_bytes_give_lines_in_order_or_findings(content, user):
    made, reader = _read(b"a,b\n" + content, user=user)
    assert made or reader.findings
    checker = LineChecker(
        endpoint="/v1/chat/completions",
        models={"small"},
        max_lines=100,
        max_inputs=100,
        max_findings=10,
    )
    for line in made:
        assert checker.check(json.dumps(line).encode()) is not None, checker.findings


@given(st.text(max_size=60), TEXT)
def test_a_template_without_columns_of_the_table_is_its_own_text(text, cell):
    literal = text.replace("{", "{{").replace("}", "}}")
    if not cell.strip():
        cell = "x"
    made, _ = _read(_written([["a"], [cell]], ","), user=literal + "{a}")
    assert [_message(line) for line in made] == [text + cell]


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_the_delimiter_is_found_by_the_header(delimiter):
    rows = [["id", "text, with; much", "c"], ["1", "a, b; c | d\te", "x"]]
    assert find_delimiter(_written(rows, delimiter).encode()) == delimiter


def test_a_single_column_of_prose_is_one_column():
    made, _ = _read('a\n"One, two, three."\nfour\n')
    assert [_message(line) for line in made] == ["One, two, three.", "four"]
    _, reader = _read("a\nOne, two\n")
    # No delimiter stands in the header, so a comma is one, as in any CSV.
    assert _told(reader) == [(2, "This row has 2 cells; the header has 1.")]


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        (b"", 1, "its first line must name the columns"),
        (b"\n\n", 1, "its first line must name the columns"),
        (b"a,b\n", None, "a header and no rows"),
        (b"a,b\n,\n \n", None, "a header and no rows"),
        (b"a,a\n1,2\n", 1, "'a' stands more than once"),
        (b'a,b\n1,2\n"3,4\n5,6\n', 3, "a quote that is opened here or below is never closed"),
        (b'a,b\n"1"x,2\n', 2, "cannot be read on"),
        (b"a,b\r1,2\r", 1, "carriage return alone"),
        (b"a,b\n1,\xe4\n", 2, "not UTF-8 at byte 3"),
        (b"a\0b\n", None, "not a text file"),
        (b"a,b\n" + b"x" * 100_001, 2, "longer than 100,000 bytes"),
    ],
)
def test_what_is_wrong_is_told_by_line(table, line, words):
    _, reader = _read(table)
    found = [one for one in reader.findings if words in one.message]
    assert [one.line for one in found] == [line]


def test_ids_that_no_batch_takes_are_told():
    rows = [["a", "id"], ["1", "x"], ["2", "y" * 513], ["3", " x "]]
    _, reader = _read(_written(rows, ","), id_column="id")
    assert _told(reader) == [
        (3, "The custom_id has 513 characters; at most 512 are allowed."),
        (4, "The custom_id 'x' stands on line 2 already."),
    ]


def test_findings_beyond_the_limit_are_counted():
    _, reader = _read("a,b\n" + "only one\n" * 80)
    assert (len(reader.findings), reader.hidden, reader.rows) == (50, 30, 80)


@given(
    st.lists(NAME, min_size=2, max_size=4, unique=True),
    st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    st.booleans(),
)
def test_odd_bytes_are_told_with_the_line_on_which_they_stand(header, rows, has_mark):
    lines = [",".join(header).encode(), *rows]
    table = (b"\xef\xbb\xbf" if has_mark else b"") + b"\n".join(lines)
    _, reader = _read(table, user=f"{{{header[0]}}}")
    odd = {
        number
        for number, line in enumerate(table.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        if line != line.decode(errors="ignore").encode()
    }
    told = {one.line for one in reader.findings if "not UTF-8" in one.message}
    # Where the reading stops, at a quote or a lone carriage return, what is below is not told.
    stopped = any("cannot be read on" in one.message for one in reader.findings)
    binary = any("not a text file" in one.message for one in reader.findings)
    assert told <= odd if stopped or binary else told == odd


@pytest.mark.parametrize(
    "name", ["c" * 200, "لغة العميل", "שם, בעברית", "a\u202eb", "🎉 fête", 'say "x"', "two\nlines"]
)
def test_odd_names_of_columns_can_be_named(name):
    made, reader = _read(
        _written([["id", name], ["1", "مرحبا 🎉\u200f"], ["2", '"']], ","),
        user=f"<{{{name}}}>",
        id_column="id",
    )
    if "\n" in name:
        # A name is written on one line of a message.
        assert [one.message.partition(":")[0] for one in reader.findings] == [
            "The messages name no column"
        ]
        return
    assert _told(reader) == []
    assert [_message(line) for line in made] == ["<مرحبا 🎉\u200f>", '<">']


class _Endless(io.RawIOBase):
    """A table that is made while it is read."""

    def __init__(self, header: bytes, row: bytes, rows: int) -> None:
        self.row, self.left = row, rows
        self._ahead = header

    def readline(self, size: int | None = -1, /) -> bytes:
        if self._ahead:
            line, self._ahead = self._ahead, b""
            return line
        self.left -= 1
        return self.row if self.left >= 0 else b""

    def read(self, size: int = -1, /) -> bytes:
        return self._ahead

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 0


def test_a_table_of_many_rows_is_read_in_the_memory_of_one():
    table = _Endless(b"a,b\n", b'"' + b"long text, " * 40 + b'",x\n', 50_000)
    reader = TableReader(
        template=Template(model="small", user="{a}{b}"),
        max_rows=50_000,
        max_findings=50,
        max_line_bytes=100_000,
    )
    tracemalloc.start()
    try:
        size = sum(len(line) for line in reader.read(table))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (reader.rows, reader.findings) == (50_000, [])
    assert size > 25_000_000 and peak < 1_000_000


def test_no_more_rows_are_read_than_a_batch_may_have():
    table = _Endless(b"a,b\n", b"1,2\n", 10**9)
    made, reader = _read(table, max_rows=3)
    assert len(made) == 3
    assert _told(reader) == [(5, "The table has more than 3 rows. Split it.")]
    # Not even where a finding has made sure that it is refused.
    table = _Endless(b"a,b\n", b"1,2\n", 10**9)
    assert _read(table, user="{c}", max_rows=3)[1].rows == 4


@pytest.mark.parametrize(
    ("table", "user"),
    [
        (",".join(f"c{n}" for n in range(200_000)) + "\n", "{c0}"),
        (",".join(["same"] * 200_000) + "\n", "{same}"),
        (
            ",".join(f"c{n}" for n in range(10_000)) + "\n",
            "".join(f"{{x{n}}}" for n in range(9_000)),
        ),
        ("a,b;c\n" + ',";"' * 25_000, "{a}"),
        ("a\nx\n" * 40, "{" * 100_000),
        ("a\nx\n" * 40, "{a" * 100_000),
    ],
    ids=["columns", "twins", "unknown", "quotes", "braces", "open"],
)
def test_nothing_that_may_be_sent_takes_long(table, user):
    started = time.process_time()
    template = Template(model="small", user=user)
    reader = TableReader(
        template=template, max_rows=50_000, max_findings=50, max_line_bytes=16 * 2**20
    )
    for _ in reader.read(io.BytesIO(table.encode())):
        pass
    assert time.process_time() - started < 2


def test_a_message_names_cells_only_so_often():
    table = _written([["a"], *[["x"]] * 5], ",")
    assert len(_read(table, user="{a}" * 1_000)[0]) == 5
    assert [one for _, one in _told(_read(table, user="{a}" * 1_001)[1])] == [
        "The user message names columns more than 1,000 times."
    ]
