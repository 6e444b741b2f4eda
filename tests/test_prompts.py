"""What a person reads of a prompt, and what of it the database keeps."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.prompts import prompt_text, storable_text


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("plain", "plain"),
        (["a", "b"], "a\n\nb"),
        ([1, 2, 3], "[3 tokens]"),
        ([{"role": "user", "content": "hi"}], "hi"),
        (
            [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
            "system: be kind\n\nuser: hi",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url"}]}],
            "see\n[image_url]",
        ),
        ({"no": "prompt"}, ""),
    ],
)
def test_what_a_person_reads_of_a_prompt(prompt, text):
    assert prompt_text(prompt) == text


@settings(max_examples=200, deadline=None)
@given(st.text(), st.integers(1, 50))
@example("\ud83d", 10)
@example("\0", 10)
@example("\N{GRINNING FACE}" * 9, 6)
def test_storable_text_is_what_postgresql_keeps(text, limit):
    kept = storable_text(text, limit=limit)
    assert "\0" not in kept
    assert len(kept.encode()) <= limit
