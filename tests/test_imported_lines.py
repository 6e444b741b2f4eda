"""Result lines of other servers: whatever is taken for one has an answer."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from jobs.imported_lines import UnreadableResult, read_result

# Halves of character pairs too, which JSON can hold.
TEXT = st.text(st.characters(), max_size=80)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ERRORS = VALUES | st.fixed_dictionaries({"code": VALUES, "type": VALUES, "message": VALUES})


def read(raw: bytes) -> None:
    with contextlib.suppress(UnreadableResult):
        answer = read_result(raw).answer()
        assert answer.ok == (not answer.error_code)
        for text in (answer.text, answer.error_code, answer.error_message, answer.finish_reason):
            assert "\0" not in text and text.encode() is not None
        assert len(answer.error_code) <= 64


@given(status=VALUES | st.integers(100, 599), body=VALUES, error=ERRORS)
def test_a_line_of_any_shape_is_refused_or_answered(status, body, error) -> None:
    response = {"status_code": status, "body": body}
    for changes in ({"response": response}, {"response": body}, {}):
        read(json.dumps({"custom_id": "a", "error": error, **changes}).encode())


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_answered(raw) -> None:
    read(raw)
    read(b'{"custom_id":"a","response":{"status_code":200,"body":%b},"error":null}' % raw)
    read(b'{"custom_id":"a","response":null,"error":%b}' % raw)


def test_an_error_of_any_depth_is_refused_or_answered() -> None:
    """About where one of the two readers of JSON gives up, and the other does not."""
    for depth in (*range(700, 1_100), 100_000):
        read(b'{"custom_id":"a","response":null,"error":%b%b}' % (b"[" * depth, b"]" * depth))
