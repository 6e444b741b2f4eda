"""Sending a file to Submit as its form does, for tests."""

from __future__ import annotations

from html import unescape
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from jobs.models import Project


def send(page: Client, project: Project, content: bytes, name: str = "in.jsonl", **fields: Any):
    form = {"project": project.pk, "file": SimpleUploadedFile(name, content), **fields}
    return page.post("/submit", {"complete": "1", **form})


def send_table(page: Client, project: Project, table: str | bytes, **fields: Any):
    content = table if isinstance(table, bytes) else table.encode()
    given = {"user": "Say {text}", "model": "small", **fields}
    return send(page, project, content, "table.csv", **given)


def html_of(response: Any) -> str:
    return unescape(response.content.decode())
