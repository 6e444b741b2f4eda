"""Submitting a CSV from the browser: a row becomes a request."""

from __future__ import annotations

import json
import re

import pytest

from jobs.models import StoredFile
from jobs.services.stored_bytes import open_bytes
from tests.cast import get_model
from tests.pages.submitting import html_of, send_table


@pytest.fixture(autouse=True)
def _served(own_files, db):
    get_model()


def test_a_table_becomes_lines(page, project):
    table = '\ufeffid;text\na;"one; ""two""\nthree"\n;\n\nb;four {x}\n'
    response = send_table(
        page,
        project,
        table,
        user="Say:\r\n{text} {{braces}}",
        system="Be brief about {id}.",
        id_column="id",
        max_tokens="50",
        temperature="0",
    )
    html = html_of(page.get(response["Location"]))
    assert "in order" in html and "2 empty rows were left out" in html
    stored = StoredFile.objects.get()
    assert stored.filename == "table.jsonl"
    with open_bytes(stored.paths) as file:
        made = [json.loads(line) for line in file]
    assert [one["custom_id"] for one in made] == ["a", "b"]
    assert made[0]["body"] == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief about a."},
            {"role": "user", "content": 'Say:\none; "two"\nthree {braces}'},
        ],
        "max_tokens": 50,
        "temperature": 0.0,
    }
    assert made[1]["body"]["messages"][1]["content"] == "Say:\nfour {x} {braces}"


def test_everything_wrong_with_a_table_is_told_by_line(page, project):
    table = b'id,text\na,"two\nlines"\na,again\n,none\nx,y,z\nbad,\xff\n'
    response = send_table(page, project, table, user="{text} {nothing}", id_column="id")
    html = html_of(response)
    assert response.status_code == 400 and not StoredFile.objects.exists()
    told = re.findall(r'(?:data-label="Line">(\d+)|(–))</td><td[^>]*>([^<]*)<', html)
    assert [(one[0], one[2].partition(".")[0]) for one in told] == [
        ("", "The user message names {nothing}, which is no column of the table: id, text"),
        ("4", "The custom_id 'a' stands on line 2 already"),
        ("5", "The cell in 'id', the custom_id, is empty"),
        ("6", "This row has 3 cells; the header has 2"),
        ("7", "This line is not UTF-8 at byte 5"),
    ]
    assert "{text} {nothing}</textarea>" in html


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user": ""}, "User message: This field is required"),
        ({"user": "no column"}, "name no column: write {text}"),
        ({"model": "unknown"}, "Model: Select a valid choice"),
        ({"temperature": "nan"}, "Temperature"),
        ({"max_tokens": "0"}, "Most tokens an answer"),
        ({"id_column": "no"}, "The column 'no' for the custom_id"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(page, project, fields, words):
    response = send_table(page, project, "text\na\n", **fields)
    assert response.status_code == 400 and words in html_of(response)
