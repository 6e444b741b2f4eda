"""The steps to a first batch, with commands that work on this server as they stand."""

from __future__ import annotations

import shlex
from typing import Any

from django.http import HttpRequest

from jobs.models import ServedModel
from jobs.services.projects import DEFAULT_PROJECT, projects_of


def first_steps(request: HttpRequest) -> dict[str, Any]:
    """Return what `jobs/_first_batch.html` needs."""
    models = ServedModel.objects.filter(enabled=True).order_by("pk")
    names = list(projects_of(request.user).order_by("pk").values_list("name", flat=True)[:100])
    make_key = ".venv/bin/python manage.py createapikey first"
    if names and DEFAULT_PROJECT not in names:
        # With a key of the default project, this person would not see the batch.
        make_key += f" --project {shlex.quote(names[0])}"
    return {
        "base_url": request.build_absolute_uri("/v1"),
        "model_name": models.values_list("name", flat=True).first(),
        "has_project": bool(names),
        "key_command": f"export OPENAI_API_KEY=$({make_key})",
    }
