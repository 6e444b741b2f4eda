"""The steps to a first batch, with commands that work on this server as they stand."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.http import HttpRequest

from jobs.models import ServedModel
from jobs.services.projects import DEFAULT_PROJECT, projects_of
from jobs.views.access import projects_to_submit_to


def first_steps(request: HttpRequest) -> dict[str, Any]:
    """Return what `jobs/_first_batch.html` and the quick starts need.

    Models and projects are named only to who may know them.
    """
    known = request.user.is_authenticated
    model_name = _model_name() if known else None
    projects = list(projects_of(request.user).order_by("pk")[:100]) if known else []
    names = [project.name for project in projects]
    return {
        "known": known,
        "base_url": request.build_absolute_uri("/v1"),
        "model_name": model_name,
        # As a JSON string, which is one of Python's and of JavaScript's as well.
        "model_string": json.dumps(model_name or "MODEL"),
        "has_project": bool(names),
        "may_submit": bool(names) and projects_to_submit_to(request.user).exists(),
        "key_command": _key_command(names),
    }


def _model_name() -> str | None:
    models = ServedModel.objects.filter(enabled=True).order_by("pk")
    return models.values_list("name", flat=True).first()


def _key_command(names: list[str]) -> str:
    make_key = ".venv/bin/python manage.py createapikey first"
    if names and DEFAULT_PROJECT not in names:
        # With a key of the default project, this person would not see the batch.
        make_key += f" --project {shlex.quote(names[0])}"
    return f"export OPENAI_API_KEY=$({make_key})"
