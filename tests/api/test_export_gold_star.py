"""`/api/export-gold-star`: the shapes over HTTP, as JSON and as files."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.api.conftest import line

pytestmark = pytest.mark.django_db


@pytest.fixture
def starred(api, lane) -> dict:
    """Three gold stars of scores 6, 8 and 10; the last one edited."""
    batch = api.make(b"\n".join(line(one) for one in "abc") + b"\n")
    lane.answer()
    for custom_id, score in (("a", 6), ("b", 8), ("c", 10)):
        order = {"batch_id": batch["id"], "custom_id": custom_id, "quality_score": score}
        if custom_id == "c":
            order["edited_answer"] = "=better"
        assert api.post("/api/gold-star", order).status_code == 200
    return batch


def export(api, **query: str) -> dict:
    response = api.get("/api/export-gold-star", query)
    assert response.status_code == 200, response.content
    return response.json()


def test_an_export_is_json_with_its_rows(api, starred):
    found = export(api, format="finetuning", min_quality="7")
    assert set(found) == {"count", "data", "filename", "format", "min_quality"}
    assert (found["count"], found["format"], found["min_quality"]) == (2, "finetuning", 7)
    assert found["filename"].endswith(".jsonl")
    asked = {"role": "user", "content": "say b"}
    assert found["data"][0] == {"messages": [asked, {"role": "assistant", "content": "to b"}]}
    assert found["data"][1]["messages"][1]["content"] == "=better"
    assert export(api, format="raw")["count"] == 3
    assert "Assistant: to a" in export(api, format="icl-text")["data"]
    assert len(export(api, format="icl", k="2")["data"]) == 4


def test_rows_and_rejects_together_are_all_that_was_asked_for(api, starred):
    response = api.get("/api/export-gold-star", {"format": "openai-dpo"})
    assert response.json()["count"] == 1 and response["x-vbatch-rejected"] == "2"
    rejects = b"".join(api.get("/api/export-gold-star", {"format": "openai-dpo", "rejects": "1"}))
    rows = list(csv.DictReader(io.StringIO(rejects.decode())))
    assert [(row["custom_id"], row["code"]) for row in rows] == [("a", "no_pair"), ("b", "no_pair")]


def test_a_download_is_the_file_itself(api, starred):
    response = api.get("/api/export-gold-star", {"format": "trl-preference", "download": "1"})
    assert response["Content-Disposition"].startswith('attachment; filename="gold-star-trl-')
    (row,) = [json.loads(one) for one in b"".join(response).splitlines()]
    assert row["chosen"][0]["content"] == "=better"
    response = api.get("/api/export-gold-star", {"format": "csv", "download": "1"})
    assert b"'=better" in b"".join(response)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "format"),
        ({"format": "parquets"}, "format"),
        ({"format": "raw", "min_quality": "0"}, "min_quality"),
        ({"format": "raw", "k": "3"}, "k"),
        ({"format": "raw", "colour": "red"}, "colour"),
        ({"format": "raw", "download": "yes"}, "download"),
    ],
)
def test_what_is_wrong_is_said(api, query, param):
    response = api.get("/api/export-gold-star", query)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_nothing_of_a_stranger_and_nothing_unstarred_is_exported(api, strange_api, starred):
    assert export(strange_api, format="raw")["count"] == 0
    newest = api.get("/api/gold-star").json()["data"][0]
    api.delete(f"/api/gold-star/{newest['id']}")
    assert export(api, format="raw")["count"] == 2
