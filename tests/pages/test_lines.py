"""The lines of a batch: which are shown, how one is found, read, and looked at raw."""

from __future__ import annotations

import json
import re

import pytest
from django.utils import timezone

from jobs.models import BatchRequest, BatchResponse, Chunk, StoredFile
from jobs.reading import TEXT_MAX, read_request, read_response
from jobs.states import ChunkState
from jobs.views import raw
from tests.cast import make_batch

KEYS = r'<tr data-key="(\d+)"'


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path


def spoken(batch, position: int, *, asked: object, answered: object) -> str:
    """Give a line these bodies; return the address of its page."""
    line = BatchRequest.objects.get(batch=batch, position=position)
    BatchRequest.objects.filter(pk=line.pk).update(body=json.dumps(asked).encode())
    BatchResponse.objects.filter(pk=line.pk).update(body=json.dumps(answered).encode())
    return f"/batches/{batch.public_id}/lines/{position}"


@pytest.mark.parametrize(
    ("show", "positions"),
    [
        ("", ["0", "1", "2", "3", "4"]),
        ("answered", ["0", "1"]),
        ("errors", ["2"]),
        ("cut", ["1"]),
        ("open", ["3", "4"]),
        ("nonsense\0", ["0", "1", "2", "3", "4"]),
    ],
)
def test_chips_show_the_lines_that_they_name(page, project, show, positions):
    batch = make_batch(project=project, texts=["a", "b"], errors=["no"], open_lines=2)
    BatchResponse.objects.filter(batch=batch, seq=2).update(finish_reason="length")
    html = page.get(f"/batches/{batch.public_id}", {"show": show}).content.decode()
    assert re.findall(KEYS, html) == positions


def test_lines_that_are_not_answered_are_found_behind_chunks_that_are_done(page, project):
    batch = make_batch(project=project, texts=["a", "b", "c"], open_lines=3)
    for first, state in ((0, ChunkState.DONE), (2, ChunkState.OPEN), (4, ChunkState.OPEN)):
        Chunk.objects.create(
            batch=batch, first_position=first, last_position=first + 1, state=state
        )
    html = page.get(f"/batches/{batch.public_id}", {"show": "open"}).content.decode()
    assert re.findall(KEYS, html) == ["3", "4", "5"]
    line = page.get(f"/batches/{batch.public_id}/lines/4", {"show": "open"})
    assert (line.context["previous"], line.context["next"]) == (3, 5)


def test_a_line_is_found_by_its_custom_id_and_only_in_its_batch(page, project):
    make_batch(project=project, open_lines=3)
    batch = make_batch(project=project, open_lines=2)
    address = f"/batches/{batch.public_id}"
    assert page.get(address, {"find": "line-1"})["Location"] == f"{address}/lines/1"
    for unknown in ("line-2", "line", "a\0b", "x" * 5_000, "<i>"):
        response = page.get(address, {"find": unknown})
        assert response.status_code == 200
        assert b"No line of this batch has the custom_id" in response.content
        assert b"<i>" not in response.content


def test_a_line_is_read_as_a_conversation(page, project):
    batch = make_batch(project=project, state="completed", texts=["t"])
    address = spoken(
        batch,
        0,
        asked={
            "model": "small",
            "temperature": 0.25,
            "messages": [
                {"role": "system", "content": "Be <b>brief</b>."},
                {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            ],
            "tools": [{"type": "function", "function": {"name": "get_weather"}}],
        },
        answered={
            "choices": [
                {
                    "finish_reason": "tool_calls",
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "reasoning_content": "I should look.",
                        "tool_calls": [
                            {"function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
                        ],
                    },
                }
            ]
        },
    )
    html = page.get(address).content.decode()
    for words in (
        "Be &lt;b&gt;brief",
        "weather?",
        "I should look.",
        "{&quot;city&quot;: &quot;Oslo&quot;}",
        "Tools it may call: get_weather",
        "0.25",
        "line-0",
    ):
        assert words in html
    assert html.index("weather?") < html.index("I should look.")


def test_an_error_and_a_line_without_an_answer_say_what_they_are(page, project):
    batch = make_batch(project=project, errors=["<too long>"], open_lines=1)
    failed = page.get(f"/batches/{batch.public_id}/lines/0").content.decode()
    assert "&lt;too long&gt;" in failed and "BadRequestError" in failed and "HTTP 400" in failed
    assert b"Not answered yet." in page.get(f"/batches/{batch.public_id}/lines/1").content


def test_lines_lead_to_each_other_within_what_is_shown(page, project):
    batch = make_batch(project=project, texts=["a"] * 2, errors=["no"] * 2, open_lines=1)
    address = f"/batches/{batch.public_id}/lines"

    def leads(rest: str) -> list[str]:
        return re.findall(r'rel="(?:prev|next)" href="([^"]+)"', page.get(rest).content.decode())

    assert leads(f"{address}/0") == [f"{address}/1"]
    assert leads(f"{address}/1") == [f"{address}/0", f"{address}/2"]
    assert leads(f"{address}/3?show=errors") == [f"{address}/2?show=errors"]
    assert leads(f"{address}/4") == [f"{address}/3"]


def test_raw_bodies_are_shown_cut_and_taken_away_whole(page, project, monkeypatch):
    monkeypatch.setattr(raw, "SHOWN_MAX", 60)
    batch = make_batch(project=project, state="completed", texts=["t"])
    body = b'{"n":1.50,"text":"' + b"<" * 500 + b'"}'
    BatchRequest.objects.filter(batch=batch).update(body=body)
    address = f"/batches/{batch.public_id}/lines/0/raw/request"
    shown = page.get(address).content.decode()
    # Numbers stay as they came.
    assert "&quot;n&quot;: 1.50" in shown and "the first 60 of" in shown and "<<" not in shown
    # What cannot be indented is shown as it is.
    BatchRequest.objects.filter(batch=batch).update(body=b'{"n":1.50,"text":"\\ud800"}')
    assert (
        "{&quot;n&quot;:1.50,&quot;text&quot;:&quot;\\ud800" in page.get(address).content.decode()
    )
    BatchRequest.objects.filter(batch=batch).update(body=body)
    taken = page.get(f"{address}?download=1")
    assert taken.content == body and "attachment" in taken["Content-Disposition"]
    assert page.get(f"/batches/{batch.public_id}/lines/0/raw/response").status_code == 200
    assert page.get(f"/batches/{batch.public_id}/lines/9/raw/request").status_code == 404


def test_what_stands_in_a_deleted_file_cannot_be_read(page, project):
    batch = make_batch(project=project, state="completed", texts=["secret words"])
    StoredFile.objects.update(deleted_at=timezone.now())
    address = f"/batches/{batch.public_id}/lines/0"
    html = page.get(address).content.decode()
    assert "secret words" not in html and "was deleted, or has expired" in html
    assert page.get(f"{address}/raw/response").status_code == 404


@pytest.mark.parametrize("rest", ["", "/live", "/raw/request", "/raw/response"])
def test_a_foreign_line_is_not_there(page, strange_page, project, rest):
    batch = make_batch(project=project, texts=["secret"])
    address = f"/batches/{batch.public_id}/lines/0{rest}"
    assert page.get(address).status_code == 200
    assert strange_page.get(address).status_code == 404
    assert page.get(address.replace("lines/0", "lines/999999999")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[" * 100_000,
        b"null",
        b"[1]",
        b'{"messages": 7, "input": [1, null, [2], {"type": 3, "role": 4}], "tools": [1, {}]}',
        b'{"messages": [{"role": ["x"], "content": {"a": 1}, "tool_calls": [{"function": 1}]}]}',
        b'{"choices": [{"message": {"content": 5, "reasoning": 6}, "finish_reason": 7}, 8]}',
        b'{"output": [{"type": "reasoning", "summary": 1}, {"type": "function_call"}]}',
        b'{"data": [{"embedding": []}, {"score": 0.5}]}',
        b'{"prompt": "\\ud800", "\\ud800": 1}',
    ],
)
def test_any_body_can_be_read(body):
    for reading in (read_request(body), read_response(body)):
        for turn in reading.turns:
            assert turn.text.encode() is not None
        for key, value in reading.settings.items():
            assert f"{key}{value}".encode() is not None


def test_a_long_text_is_cut_and_says_so():
    reading = read_request(json.dumps({"prompt": "x" * (TEXT_MAX + 5)}).encode())
    assert reading.turns[0].is_cut and reading.turns[0].chars == TEXT_MAX + 5
    many = read_request(json.dumps({"messages": [{"role": "user", "content": "a"}] * 500}).encode())
    assert (len(many.turns), many.left_out) == (200, 300)


def test_answers_of_each_kind_are_read():
    completion = read_response(b'{"choices": [{"text": "blue", "finish_reason": "stop"}]}')
    assert [(turn.text, turn.finish_reason) for turn in completion.turns] == [("blue", "stop")]
    response = read_response(
        b'{"output": [{"type": "reasoning", "summary": [{"text": "hm"}]},'
        b' {"type": "function_call", "name": "f", "arguments": "{}"},'
        b' {"type": "message", "content": [{"type": "output_text", "text": "done"}]}]}'
    )
    assert [turn.reasoning for turn in response.turns] == ["hm", "", ""]
    assert response.turns[1].calls[0].name == "f" and response.turns[2].text == "done"
    embedding = read_response(b'{"data": [{"embedding": [0.5, 1, 2]}]}')
    assert embedding.turns[0].text.startswith("3 numbers: 0.5, 1, 2")


def test_the_number_of_queries_is_fixed(page, project, django_assert_num_queries):
    batch = make_batch(project=project, texts=["t"] * 20, errors=["e"], open_lines=4)
    # Session, person, overdue, batch, line, the one before, the one after.
    with django_assert_num_queries(7):
        page.get(f"/batches/{batch.public_id}/lines/3/live?show=answered")


def test_an_answer_that_is_json_is_laid_out():
    def answer(text: str):
        message = {"role": "assistant", "content": text}
        (turn,) = read_response(json.dumps({"choices": [{"message": message}]}).encode()).turns
        return turn

    assert answer('{"b":1,"a":[2]}').as_json == '{\n  "b": 1,\n  "a": [\n    2\n  ]\n}'
    for text in ("{not json}", "plain", "[" * 100_000, '{"a":1}' + " " * 60_000):
        assert answer(text).as_json == ""
