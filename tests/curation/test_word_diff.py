"""Word diffs lose nothing, find what is planted, and end in time."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from curation.word_diff import diff_words

WORDS = st.lists(st.sampled_from(["a", "b ", "c\n", "日", "é", ".", "_", "  ", "\U0001f600"]))
TEXTS = WORDS.map("".join) | st.text()


def texts_of(spans):
    old = "".join(span.text for span in spans if span.kind != "new")
    new = "".join(span.text for span in spans if span.kind != "old")
    return old, new


@given(TEXTS, TEXTS)
def test_both_texts_can_be_put_together_again(old, new):
    spans = diff_words(old, new)
    assert texts_of(spans) == (old, new)
    assert all(span.text for span in spans)
    assert all(a.kind != b.kind for a, b in zip(spans, spans[1:], strict=False))


@given(TEXTS)
def test_equal_texts_have_no_difference(text):
    assert [span.kind for span in diff_words(text, text)] == (["same"] if text else [])


@given(TEXTS, TEXTS)
def test_without_steps_left_it_is_still_true(old, new):
    assert texts_of(diff_words(old, new, steps=0)) == (old, new)


def test_a_changed_word_is_all_that_is_marked():
    spans = diff_words("the cat sat on the mat", "the dog sat on the mat")
    assert [(one.kind, one.text) for one in spans] == [
        ("same", "the "),
        ("old", "cat "),
        ("new", "dog "),
        ("same", "sat on the mat"),
    ]


def test_the_fewest_words_are_marked_where_none_stands_alone():
    spans = diff_words("x y x y x y z z", "x y x x y z z")
    assert "".join(one.text for one in spans if one.kind == "old") == "y "
    assert not [one for one in spans if one.kind == "new"]


def test_scripts_without_blanks_are_compared_by_character():
    spans = diff_words("猫は好きです", "犬は好きです")
    assert [(one.kind, one.text) for one in spans][:2] == [("old", "猫"), ("new", "犬")]


def test_long_texts_end_within_their_steps():
    draw = random.Random(1)
    vocabulary = ["lorem ", "ipsum ", "dolor ", "sit "]
    old = "".join(draw.choices(vocabulary, k=18_000))
    new = "".join(draw.choices(vocabulary, k=18_000))
    assert len(old) > 90_000
    assert texts_of(diff_words(old, new)) == (old, new)
    edited = old[:50_000] + "unheard-of " + old[50_000:]
    marked = [one for one in diff_words(old, edited) if one.kind != "same"]
    assert len("".join(one.text for one in marked)) < 40
