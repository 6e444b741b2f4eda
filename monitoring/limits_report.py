"""The answer of `/api/limits`: what holds, and what is taken of it now."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from jobs.models import Project, ProjectKey
from jobs.services.limits import PROJECT_LIMITS, limit_of, use_of
from jobs.services.throttle import read_allowance


def limits_report(projects: QuerySet[Project], key: ProjectKey | None) -> dict[str, Any]:
    """Return each project's limits with its use, and what the asking key has left.

    A limit of null is none; tokens are estimated by the size of the lines. Asking takes nothing
    of the key's requests.
    """
    known = list(projects.order_by("name"))
    use = use_of(known)
    return {
        "projects": [
            {
                "project": project.name,
                **{
                    name.removeprefix("max_"): {
                        "limit": limit_of(project, name),
                        "used": use[project.pk][name],
                    }
                    for name in PROJECT_LIMITS
                },
            }
            for project in known
        ],
        "key": None if key is None else _key_part(key),
    }


def _key_part(key: ProjectKey) -> dict[str, Any]:
    allowance = read_allowance(key=key)
    return {
        "name": key.name,
        "requests_per_minute": {
            "limit": allowance.limit if allowance else None,
            "remaining": allowance.remaining if allowance else None,
        },
    }
