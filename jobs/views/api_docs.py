"""The page for whoever writes a program: quick starts that work on this server, and its limits."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.services.batches import completion_windows, endpoints
from jobs.services.limits import default_limits
from jobs.views.first_steps import first_steps


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show it to everybody, like the schema, which names no model and no project."""
    return render(
        request,
        "jobs/api_docs.html",
        {
            **first_steps(request),
            "endpoints": endpoints(),
            "windows": list(completion_windows()),
            "limits": _limits(),
        },
    )


def _limits() -> list[tuple[str, int | None, str]]:
    """Return what holds in words, with its figure and its unit; None is no limit."""
    found: dict[str, Any] = default_limits()
    return [
        ("Lines of a batch", settings.MAX_LINES, ""),
        ("Embedding inputs of a batch", settings.MAX_EMBEDDING_INPUTS, ""),
        ("Size of a file", settings.MAX_FILE_BYTES, "bytes"),
        ("Size of a line", settings.MAX_LINE_BYTES, "bytes"),
        ("Files are kept", settings.FILE_EXPIRES_S, "seconds"),
        ("Requests a minute, of a key", found["requests_per_minute"], ""),
        ("Batches at a time, of a project", found["max_live_batches"], ""),
        ("Lines without an answer, of a project", found["max_queued_requests"], ""),
        ("Their tokens, by estimate", found["max_queued_tokens"], ""),
        ("Stored files of a project", found["max_stored_bytes"], "bytes"),
    ]
