"""Malformed files and forms: each has its answer, and none does harm."""

from __future__ import annotations

import pytest

from tests.api.checks import check_error, check_unharmed
from tests.api.conftest import Api, multipart

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("content", "name", "fields", "code", "param", "words"),
    [
        (b"", "in.jsonl", {}, "invalid_file", "file", "empty"),
        (b"\n\n  \n", "in.jsonl", {}, "invalid_file", "file", "blank lines"),
        (b"[1]\n", "in.jsonl", {}, "invalid_file", "file", "Invalid file format"),
        (b"a,b\n1,2\n", "in.jsonl", {}, "invalid_file", "file", "Invalid file format"),
        (b"\x89PNG\r\n\x1a\n", "in.jsonl", {}, "invalid_file", "file", "jsonl"),
        (b"{}\n", "in.csv", {}, "invalid_file", "file", "jsonl"),
        (b"{}\n", "jsonl", {}, "invalid_file", "file", "jsonl"),
        (b"{}\n", "in.jsonl", {"purpose": "none"}, "invalid_value", "purpose", "fine-tune"),
        (b"{}\n", "in.jsonl", {"purpose": ""}, "empty_string", "purpose", ""),
        (b"{}\n", "in.jsonl", {"purpose": "batch_output"}, "invalid_value", "purpose", ""),
        (b"{}\n", "in.jsonl", {"purpose": "b\0"}, "invalid_value", "purpose", ""),
        (b"{}\n", "in.jsonl", {"more": "x"}, "unknown_parameter", "more", "Unknown"),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[seconds]": "3600"},
            "missing_required_parameter",
            "expires_after[anchor]",
            "",
        ),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[anchor]": "created_at"},
            "missing_required_parameter",
            "expires_after[seconds]",
            "",
        ),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "invalid_value",
            "expires_after[anchor]",
            "",
        ),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            "integer_below_min_value",
            "expires_after[seconds]",
            "3600",
        ),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
            "integer_above_max_value",
            "expires_after[seconds]",
            "2592000",
        ),
        (
            b"{}\n",
            "in.jsonl",
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
            "invalid_type",
            "expires_after[seconds]",
            "",
        ),
        (None, "", {}, "missing_required_parameter", "file", ""),
        (b"{}\n", "..", {}, "missing_required_parameter", "file", ""),
    ],
)
def test_a_bad_upload(api, settings, content, name, fields, code, param, words):
    boundary, form = multipart({"purpose": "batch", **fields}, content, name)
    response = post_form(api, form, f"multipart/form-data; boundary={boundary}")
    check_error(response, 400, code, param, words)
    assert api.get("/v1/files").json()["data"] == []
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
    check_unharmed(api)


def test_a_missing_purpose_is_named(api):
    boundary, form = multipart({}, b"{}\n", "in.jsonl")
    response = post_form(api, form, f"multipart/form-data; boundary={boundary}")
    check_error(response, 400, "missing_required_parameter", "purpose")


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n'
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
STRANGE_NAME = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename*=none''a.jsonl\r\n"


@pytest.mark.parametrize(
    ("content_type", "form", "status", "words"),
    [
        ("application/json", b"{}", 415, "multipart/form-data"),
        ("", b"{}", 415, "multipart/form-data"),
        ("multipart/mixed; boundary=b", PURPOSE + b"--b--\r\n", 415, "multipart/form-data"),
        ("multipart/form-data", PURPOSE, 400, "boundary"),
        ("multipart/form-data; boundary=", PURPOSE, 400, "boundary"),
        ("multipart/form-data; boundary=\xe9", PURPOSE, 400, "malformed"),
        ("multipart/form-data; boundary=b", b"\r\n", 400, "before it was complete"),
        ("multipart/form-data; boundary=b", b"garbage", 400, "before it was complete"),
        ("multipart/form-data; boundary=b", PURPOSE, 400, "before it was complete"),
        (
            "multipart/form-data; boundary=b",
            PURPOSE + PART + b'\r\n{"cut": "off',
            400,
            "before it was complete",
        ),
        (
            "multipart/form-data; boundary=b",
            PURPOSE + PART + b"Content-Transfer-Encoding: base64\r\n\r\nA\r\n--b--\r\n",
            400,
            "base64",
        ),
        (
            "multipart/form-data; boundary=b",
            PURPOSE + STRANGE_NAME + b"\r\n{}\r\n--b--\r\n",
            400,
            "'file'",
        ),
        (
            "multipart/form-data; boundary=b",
            PURPOSE + PART + b"\r\n{}\r\n" + PART + b"\r\n{}\r\n--b--\r\n",
            400,
            "one file",
        ),
        ("multipart/form-data; boundary=b", PURPOSE * 1_100 + b"--b--\r\n", 400, "malformed"),
    ],
)
def test_a_malformed_form(api, settings, content_type, form, status, words):
    response = post_form(api, form, content_type)
    assert response.status_code == status, response.content
    assert words in response.json()["error"]["message"]
    assert list(settings.FILE_UPLOAD_TEMP_DIR.iterdir()) == []
    check_unharmed(api)


def post_form(api: Api, form: bytes, content_type: str):
    return api.http.generic(
        "POST", "/v1/files", form, content_type=content_type, headers=api.member.headers()
    )
