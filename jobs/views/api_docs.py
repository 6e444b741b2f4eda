"""The page for whoever writes a program: quick starts that work on this server, and its limits."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.models import ServedModel
from jobs.services.batches import completion_windows, endpoints
from jobs.services.limits import default_limits
from jobs.services.projects import DEFAULT_PROJECT
from jobs.views.access import projects_to_submit_to


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show it to everybody, like the schema; names of models and projects only to who may know."""
    known = request.user.is_authenticated
    model = _model() if known else None
    return render(
        request,
        "jobs/api_docs.html",
        {
            "known": known,
            "base_url": request.build_absolute_uri("/v1"),
            "model": model,
            # As a JSON string, which is one of Python's and of JavaScript's as well.
            "model_string": json.dumps(model or "MODEL"),
            "key_command": _key_command(request) if known else _command(""),
            "endpoints": endpoints(),
            "windows": list(completion_windows()),
            "limits": _limits(),
        },
    )


def _model() -> str | None:
    models = ServedModel.objects.filter(enabled=True).order_by("pk")
    return models.values_list("name", flat=True).first()


def _key_command(request: HttpRequest) -> str:
    names = list(projects_to_submit_to(request.user).values_list("name", flat=True)[:100])
    if not names or DEFAULT_PROJECT in names:
        return _command("")
    # With a key of the default project, this person would not see the batch.
    return _command(f" --project {shlex.quote(names[0])}")


def _command(options: str) -> str:
    return f"export OPENAI_API_KEY=$(.venv/bin/python manage.py createapikey first{options})"


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
