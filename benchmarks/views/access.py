"""Which runs and workloads a person may see and start; what is foreign is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from benchmarks.models import Run, Workload
from jobs.models import Project
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to


def visible_runs(user: Any, projects: Sequence[Project] | None = None) -> QuerySet[Run]:
    """Return the runs of a person's projects, which are these where they were read already."""
    mine = projects_of(user) if projects is None else projects
    return Run.objects.filter(project__in=mine).select_related("project", "workload")


def access_run(user: Any, public_id: str) -> Run:
    """Return a run by its id; Http404 if it is unknown or of a foreign project."""
    runs = visible_runs(user).select_related("judge_batch")
    found = runs.filter(public_id=public_id).first()
    if found is None:
        raise Http404(f"No benchmark found with id '{public_id}'.")
    return found


def visible_workloads(user: Any, projects: Sequence[Project] | None = None) -> QuerySet[Workload]:
    mine = projects_of(user) if projects is None else projects
    return Workload.objects.filter(project__in=mine).select_related("project")


def may_start(user: Any, project_id: int) -> bool:
    """Say whether a person may start, cancel and pin runs of a project: viewers may not."""
    return projects_to_submit_to(user).filter(pk=project_id).exists()


def check_may_start(user: Any, project_id: int) -> None:
    if not may_start(user, project_id):
        raise PermissionDenied("Viewers of a project cannot change its benchmarks.")
