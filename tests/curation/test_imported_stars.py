"""Reading ratings from JSONL and CSV: no line is lost, and each that is wrong says why."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.imported_stars import Refusal, StarLine, StarReader, UnreadableStars
from curation.shapes.table import encode_cells

HEADER = "batch_id,custom_id,quality_score,tags,notes,edited_answer\n"


def read(content: bytes | str, **more: Any) -> tuple[list[StarLine | Refusal], StarReader]:
    raw = content.encode() if isinstance(content, str) else content
    reader = StarReader(**{"max_rows": 1_000, "max_line_bytes": 10_000, **more})
    return list(reader.read(io.BytesIO(raw))), reader


def only(content: bytes | str, **more: Any) -> StarLine:
    (found,), _ = read(content, **more)
    assert isinstance(found, StarLine), found
    return found


def refusals(content: bytes | str, **more: Any) -> dict[int, str]:
    found, _ = read(content, **more)
    return {one.line: one.message for one in found if isinstance(one, Refusal)}


def test_a_row_of_a_table_and_an_object_say_the_same():
    cells = (
        '\ufeffBatch_ID,custom_id,Rating,tags,notes,edited_answer,extra\nb,a,8,"x, y",n,better,e\n'
    )
    row = {"batch_id": "b", "custom_id": "a", "quality_score": 8, "tags": ["x", "y"]}
    line = json.dumps({**row, "notes": "n", "edited_answer": "better", "extra": "e"})
    for content, at in ((cells, 2), (line, 1)):
        found = only(content)
        assert (found.line, found.batch_id, found.custom_id) == (at, "b", "a")
        assert dict(found.fields) == {
            "quality_score": 8,
            "tags": ["x", "y"],
            "notes": "n",
            "edited_answer": "better",
        }
        assert list(read(content)[1].ignored) == ["extra"]


@pytest.mark.parametrize(
    ("written", "score"),
    [("8", 8), (" 8 ", 8), ("8.0", 8), ("8.5", "8.5"), ("great", "great"), ("-1", -1)],
)
def test_scores_of_tables_are_numbers_where_they_are_whole(written, score):
    assert only(f"{HEADER}b,a,{written},,,\n").fields["quality_score"] == score


def test_scores_of_objects_keep_what_they_are():
    def score(value: object) -> object:
        return only(json.dumps({"response_id": "r", "rating": value})).fields["quality_score"]

    assert [score(one) for one in (8, 8.0, "8")] == [8, 8, 8]
    assert score(8.5) == 8.5 and score(True) is True


def test_an_empty_cell_and_null_leave_what_was():
    assert dict(only(f"{HEADER}b,a,8,,  ,\n").fields) == {"quality_score": 8}
    line = {"response_id": "r", "rating": 8, "tags": None, "edited_answer": None, "notes": ""}
    assert dict(only(json.dumps(line)).fields) == {"quality_score": 8, "notes": ""}


def test_rows_that_say_nothing_are_counted_apart():
    found, reader = read(f"{HEADER}b,a,,,,\nb,c,7,,,\n\n,,,,,\n")
    assert [one.line for one in found] == [3]
    assert (reader.total, reader.silent, reader.blank) == (2, 1, 2)


def test_what_a_raw_export_and_results_say_is_read_from_their_gold():
    line = {"batch_id": "b", "custom_id": "a", "request": {}, "gold": {"quality_score": 9}}
    assert dict(only(json.dumps(line)).fields) == {"quality_score": 9}
    assert read(json.dumps({**line, "gold": None}))[1].silent == 1


def test_an_apostrophe_that_made_a_cell_safe_is_taken_off():
    cells = encode_cells(["b", "=1+1", "8", "", "'tis", "'=x"]).decode()
    found = only(HEADER + cells)
    assert (found.custom_id, found.fields["notes"]) == ("=1+1", "'tis")
    assert found.fields["edited_answer"] == "'=x"
    # One that a person wrote stays.
    assert only(f"{HEADER}b,a,8,,'tis,\n").fields["notes"] == "'tis"


def test_each_wrong_line_says_why_and_stops_no_other():
    good = '{"response_id": "r", "rating": 8}'
    content = "\n".join(
        [
            good,
            "{not json",
            "[1]",
            '{"rating": 8}',
            '{"batch_id": "b", "rating": 8}',
            '{"response_id": 7, "rating": 8}',
            '{"response_id": "r", "rating": 8, "quality_score": 8}',
            '{"response_id": "' + "x" * 200 + '", "rating": 8}',
            '{"response_id": "a\\u0000", "rating": 8}',
            good,
        ]
    )
    found = refusals(content, max_line_bytes=150)
    assert list(found) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert "not valid JSON" in found[2] and "not a JSON object" in found[3]
    assert "names no answer" in found[4] and "names no answer" in found[5]
    assert "not a text" in found[6] and "twice" in found[7]
    assert "longer than" in found[8] and "NUL" in found[9]


def test_rows_of_another_width_or_encoding_say_so():
    raw = HEADER.encode() + b"b,a,8,,,\nb,c,8\nb,\xff,8,,,\nb,d,8,,,\n"
    found, reader = read(raw)
    assert [type(one) for one in found] == [StarLine, Refusal, Refusal, StarLine]
    assert "3 cells" in found[1].message and "UTF-8" in found[2].message
    assert reader.total == 4


def test_a_cell_of_several_lines_counts_them_all():
    found, _ = read(f'{HEADER}b,a,8,,"one\ntwo\nthree",\nb,c,7,,,\n')
    assert [one.line for one in found] == [2, 5]
    assert isinstance(found[0], StarLine) and found[0].fields["notes"] == "one\ntwo\nthree"


def test_rows_may_name_no_batch_where_one_is_given():
    found = only("custom_id,rating\na,8\n", batch_id="b")
    assert (found.batch_id, found.custom_id) == ("b", "a")
    assert only("custom_id;rating\na;8\n", batch_id="b").fields["quality_score"] == 8


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"", "must name the columns", 1),
        ("custom_id,batch_id\na,b\n", "must name the columns", 1),
        ("custom_id,rating\na,8\n", "names no answers", 1),
        ("response_id,rating,quality_score\n", "twice", 1),
        ("response_id,rating\n", "no rows", None),
        ('[{"response_id": "a"}]', "one list", 1),
        ("response_id,rating\n".encode("utf-16"), "UTF-16", None),
        (b"response_id,rating\n\0,8\n", "not a text file", None),
        ('response_id,rating\na,8\n"b,8\nc,8\n', "never closed", 3),
        ("response_id,rating\ra,8\r", "carriage return", 1),
        ("response_id,rating\n" + "a,8\n" * 1_001, "more than 1,000 rows", 1_002),
        ("response_id,rating\n" + "a" * 20_000 + ",8\n", "longer than", 2),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_refused_whole(content, words, line):
    with pytest.raises(UnreadableStars, match=words) as caught:
        read(content)
    assert caught.value.line == line


_LINE = st.one_of(
    st.just(b'{"response_id": "r", "rating": 8}'),
    st.just(b'{"response_id": "r"}'),
    st.just(b"  "),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
    st.dictionaries(
        st.sampled_from(["response_id", "custom_id", "rating", "tags", "gold", "x"]),
        st.none() | st.integers() | st.text(max_size=5) | st.just([1]) | st.just(0.5),
        max_size=4,
    ).map(lambda row: json.dumps(row).encode()),
)


@given(st.lists(_LINE, max_size=8))
def test_every_line_is_taken_refused_silent_or_blank(lines):
    lines = [b'{"response_id": "r", "rating": 8}', *lines]
    found, reader = read(b"\n".join(lines) + b"\n", batch_id="b")
    assert len(found) + reader.silent == reader.total
    assert reader.total + reader.blank == len(lines)
    numbers = [one.line for one in found]
    assert numbers == sorted(set(numbers))


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(
    st.lists(
        st.tuples(_TEXT.filter(str.strip), st.integers(1, 10), _TEXT, _TEXT), min_size=1, max_size=8
    )
)
def test_a_table_that_was_exported_comes_back_as_it_was(rows):
    header = encode_cells(["batch_id", "custom_id", "quality_score", "notes", "edited_answer"])
    table = header + b"".join(
        encode_cells(["b", name, str(score), notes, edited]) for name, score, notes, edited in rows
    )
    found, reader = read(b"\xef\xbb\xbf" + table)
    assert reader.total == len(rows)
    for one, (name, score, notes, edited) in zip(found, rows, strict=True):
        assert isinstance(one, StarLine)
        said = {"quality_score": score, "notes": notes, "edited_answer": edited}
        assert dict(one.fields) == {
            k: v for k, v in said.items() if not isinstance(v, str) or v.strip()
        }
        assert one.custom_id == name.strip()


def test_the_reader_reads_tables_as_others_write_them():
    out = io.StringIO()
    csv.writer(out, delimiter="\t").writerows([["response_id", "rating"], ["r", "7"]])
    assert only(out.getvalue()).fields["quality_score"] == 7
