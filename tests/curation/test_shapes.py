"""Each shape: the exact keys of its rows, what it cannot hold, and that nothing is lost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.conversations import NotAnExample
from curation.diverse import choose_diverse
from curation.examples import Example, read_example
from curation.shapes import SHAPES, Tally, find_shape
from curation.shapes.table import COLUMNS, plain_cell
from tests.curation.openai_rules import check_dpo, check_sft
from tests.curation.starred import WEATHER, Star, call, chat, example, examples, with_a_tool

ASKED = {"role": "user", "content": "how are you?"}
FINE = {"role": "assistant", "content": "fine"}
BETTER = {"role": "assistant", "content": "very well"}


def written(name: str, *found: Example) -> tuple[bytes, Tally]:
    tally = Tally()
    shape = find_shape(name)
    assert shape is not None
    content = b"".join(shape.write(found, tally))
    assert tally.read == len(found)
    return content, tally


def row(name: str, one: Example) -> dict:
    content, tally = written(name, one)
    assert not tally.rejects, tally.rejects
    (line,) = content.splitlines() if b"\n" in content else [content]
    return json.loads(line)


def rejected(name: str, one: Example) -> str:
    content, tally = written(name, one)
    assert not tally.rows and content in (b"", b"\n", b"[]\n")
    return tally.rejects[0].code


def test_the_rows_of_each_shape_have_exactly_its_keys():
    plain, edited = example(), example(edited_answer="very well")
    assert row("openai-sft", plain) == {"messages": [ASKED, FINE]}
    assert row("finetuning", edited) == {"messages": [ASKED, BETTER]}
    assert row("openai-dpo", edited) == {
        "input": {"messages": [ASKED]},
        "preferred_output": [BETTER],
        "non_preferred_output": [FINE],
    }
    assert row("trl-sft", edited) == {"prompt": [ASKED], "completion": [BETTER]}
    assert row("trl-preference", edited) == {
        "prompt": [ASKED],
        "chosen": [BETTER],
        "rejected": [FINE],
    }
    assert row("trl-kto", plain) == {"prompt": [ASKED], "completion": [FINE], "label": True}
    assert row("trl-kto", example(quality_score=3))["label"] is False
    assert row("sharegpt", plain) == {
        "conversations": [
            {"from": "human", "value": "how are you?"},
            {"from": "gpt", "value": "fine"},
        ]
    }
    said = [{"role": "system", "content": "Be kind."}, ASKED, FINE, {**ASKED, "content": "why?"}]
    assert row("alpaca", example(*said, answer="because")) == {
        "instruction": "why?",
        "input": "",
        "output": "because",
        "system": "Be kind.",
        "history": [["how are you?", "fine"]],
    }


def test_tools_are_kept_where_the_shape_has_a_place_for_them():
    one = with_a_tool()
    assert row("openai-sft", one)["tools"] == [WEATHER]
    assert row("openai-sft", one)["messages"][1]["tool_calls"] == [call()]
    assert json.loads(row("trl-sft", one)["tools"]) == [WEATHER]
    turns = row("sharegpt", one)["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(turns[1]["value"]) == {"name": "weather", "arguments": {"city": "Bern"}}
    assert rejected("alpaca", one) == "tools"
    asked = example(answer={"role": "assistant", "content": None, "tool_calls": [call()]})
    assert row("openai-sft", asked)["messages"][1]["tool_calls"] == [call()]
    assert rejected("icl-text", asked) == "tool_calls"


def test_examples_for_a_prompt():
    said = [{"role": "system", "content": "Be kind."}, ASKED]
    one, other = example(*said), example("and you?", answer="well")
    assert written("icl-text", one, other)[0].decode() == (
        "System: Be kind.\n\nUser: how are you?\n\nAssistant: fine"
        "\n\n---\n\nUser: and you?\n\nAssistant: well\n"
    )
    content, _ = written("icl", one, other)
    assert json.loads(content) == [
        {"role": "user", "content": "Be kind.\n\nhow are you?"},
        FINE,
        {"role": "user", "content": "and you?"},
        {"role": "assistant", "content": "well"},
    ]


def test_diverse_examples_are_unlike_each_other_and_within_the_budget():
    same = [example(f"what is {n} and one?", answer="a number, I think") for n in range(5)]
    other = example("name a river of France", answer="the Loire")
    chosen = choose_diverse([*same, other], count=2)
    assert chosen == [same[0], other]
    assert choose_diverse([*same, other], count=2) == chosen
    assert len(choose_diverse(same, count=9, max_tokens=30)) == 2
    assert choose_diverse(same, count=9, max_tokens=5) == []


def test_raw_keeps_the_bodies_to_the_byte():
    star = chat(notes="n", edited_answer="very well")
    content, _ = written("raw", read_example(star))
    assert b'"request":' + star.request_body in content
    assert b'"response":' + star.response_body in content
    found = json.loads(content)
    assert found["custom_id"] == "a"
    assert found["gold"]["edited_answer"] == "very well"
    assert found["gold"]["provenance"] == {"sampling": {"temperature": 0.5}}


def test_a_table_runs_no_formulas_and_can_be_read_back():
    one = example("=1+1", answer='=HYPERLINK("x")', notes="'quoted", custom_id="+41")
    content, _ = written("csv", one)
    (cells,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert tuple(cells) == COLUMNS
    assert cells["answer"] == '\'=HYPERLINK("x")'
    assert plain_cell(cells["answer"]) == '=HYPERLINK("x")'
    assert plain_cell(cells["notes"]) == "'quoted"
    assert plain_cell(cells["custom_id"]) == "+41"


@pytest.mark.parametrize(
    ("star", "code"),
    [
        (chat(answer=""), "empty_answer"),
        (chat("a", "b"), "role_order"),
        (chat({"role": "critic", "content": "a"}), "role"),
    ],
)
def test_what_does_not_fit_is_told_apart(star, code):
    assert rejected("openai-sft", read_example(star)) == code


@pytest.mark.parametrize(
    ("shape", "one", "code"),
    [
        ("openai-dpo", example(), "no_pair"),
        ("trl-preference", example(), "no_pair"),
        ("alpaca", example("a", "b"), "role_order"),
        ("sharegpt", example(ASKED, ASKED), "role_order"),
        ("alpaca", example(ASKED, {"role": "system", "content": "x"}), "role_order"),
        (
            "alpaca",
            example({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
            "not_text",
        ),
    ],
)
def test_what_a_shape_cannot_hold_is_rejected(shape, one, code):
    assert rejected(shape, one) == code


@pytest.mark.parametrize(
    ("request_body", "response_body", "code"),
    [
        ({"input": "a", "encoding_format": "float"}, {"data": []}, "no_answer"),
        ({"messages": []}, {"choices": [{"message": {"content": "x"}}]}, "no_messages"),
        ({"prompt": [1, 2]}, {"choices": [{"text": "x"}]}, "not_text"),
        ({"query": "a"}, {"choices": [{"text": "x"}]}, "not_a_conversation"),
    ],
)
def test_what_is_no_conversation_is_no_example(request_body, response_body, code):
    with pytest.raises(NotAnExample) as caught:
        read_example(Star(request=request_body, response=response_body))
    assert caught.value.code == code


def test_completions_and_responses_are_read_too():
    one = read_example(Star(request={"prompt": "Once"}, response={"choices": [{"text": " upon"}]}))
    assert (one.messages, one.answer_text) == ([{"role": "user", "content": "Once"}], " upon")
    found = read_example(
        Star(
            request={
                "instructions": "Be kind.",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c1", "output": "7"},
                ],
            },
            response={
                "output": [
                    {"type": "reasoning", "content": [{"type": "text", "text": "hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "hello"}]},
                ]
            },
        )
    )
    assert [message["role"] for message in found.messages] == [
        *("system", "user", "assistant", "tool")
    ]
    assert found.answer["reasoning_content"] == "hm"
    assert row("openai-sft", found)["messages"][-1] == {"role": "assistant", "content": "hello"}


# --- Nothing is lost ---------------------------------------------------------------------------
FEW = settings(max_examples=60, deadline=None)


def _messages(one: Example) -> list:
    return [*one.messages, one.answer]


@FEW
@given(st.lists(examples(), min_size=1, max_size=4))
def test_openai_and_trl_give_back_every_message(found):
    content, tally = written("openai-sft", *found)
    assert tally.rows == len(found)
    rows = [json.loads(line) for line in content.split(b"\n")[:-1]]
    assert [one["messages"] for one in rows] == [_messages(one) for one in found]
    assert [one.get("tools", []) for one in rows] == [one.tools for one in found]
    assert all(finding.line == 0 for finding in check_sft(content.split(b"\n")[:-1]))

    content, _ = written("trl-sft", *found)
    for line, one in zip(content.split(b"\n"), found, strict=False):
        back = json.loads(line)
        given_ = [{**m, "content": m["content"] or ""} for m in _messages(one)]
        assert back["prompt"] + back["completion"] == given_


@FEW
@given(st.lists(examples(), min_size=1, max_size=4))
def test_one_edit_gives_a_row_to_learn_and_a_pair_to_prefer(found):
    content, tally = written("openai-dpo", *found)
    edited = [one for one in found if one.is_edited]
    assert tally.rows == len(edited)
    assert {reject.code for reject in tally.rejects} <= {"no_pair"}
    rows = [json.loads(line) for line in content.split(b"\n")[:-1]]
    for back, one in zip(rows, edited, strict=True):
        assert back["preferred_output"] == [{"role": "assistant", "content": one.edited_answer}]
        assert back["non_preferred_output"] == [one.original]
        assert back["input"]["messages"] == one.messages
    assert all(finding.line == 0 for finding in check_dpo(content.split(b"\n")[:-1]))


@FEW
@given(st.lists(examples(tools=False), min_size=1, max_size=4))
def test_alpaca_and_sharegpt_give_back_every_text(found):
    content, tally = written("alpaca", *found)
    assert not tally.rejects
    for line, one in zip(content.split(b"\n"), found, strict=False):
        back = json.loads(line)
        texts = [text for pair in back.get("history", []) for text in pair]
        texts += [back["instruction"], back["output"]]
        if "system" in back:
            texts.insert(0, back["system"])
        assert texts == [message["content"] for message in _messages(one)]
    content, tally = written("sharegpt", *found)
    assert not tally.rejects
    for line, one in zip(content.split(b"\n"), found, strict=False):
        back = json.loads(line)
        texts = [back["system"]] if "system" in back else []
        texts += [turn["value"] for turn in back["conversations"]]
        assert texts == [message["content"] for message in _messages(one)]


@FEW
@given(st.lists(examples(), min_size=1, max_size=4))
def test_a_table_gives_back_every_cell(found):
    csv.field_size_limit(sys.maxsize)
    content, tally = written("csv", *found)
    assert tally.rows == len(found)
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(rows) == len(found)
    for cells, one in zip(rows, found, strict=True):
        back = {name: plain_cell(cell) for name, cell in cells.items()}
        assert back["answer"] == one.answer_text
        assert back["custom_id"] == one.custom_id
        assert json.loads(back["tags"]) == list(one.tags)
        assert json.loads(back["messages"]) == one.messages
        assert json.loads(back["answer_message"]) == one.answer


# The SHA-256 of each shape's file for the examples below: a change of one byte is a new shape.
GOLDEN = {
    "openai-sft": "6611bcee67db2e07",
    "openai-dpo": "28a2e773b49af320",
    "trl-sft": "a1520b7724371849",
    "trl-preference": "725085d2ee449f4b",
    "trl-kto": "e67ee66adaf42498",
    "sharegpt": "e124ef9b44b87449",
    "alpaca": "7a0ba62a38bd6eea",
    "icl-messages": "63150edfc003037d",
    "icl-text": "b8f9bd6c6a0dcb15",
    "raw": "23a9e9b68c10723f",
    "csv": "26ab95fa52ead0ec",
}


def test_the_same_examples_give_the_same_bytes():
    found = [
        example(),
        example("ça va ?", answer="très bien \U0001f642\u2028", edited_answer="bien", tags=("a",)),
        with_a_tool(),
    ]
    digests = {
        name: hashlib.sha256(b"".join(shape.write(found, Tally()))).hexdigest()[:16]
        for name, shape in SHAPES.items()
    }
    assert digests == GOLDEN
