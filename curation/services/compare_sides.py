"""From the names of sides to batches and models that may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from curation.comparing import MODEL, Comparing
from curation.models import ResponseSearch, SearchProgress
from curation.services.compare_cells import Side
from jobs.models import Batch, Project


def find_sides(
    wanted: Comparing, *, batches: QuerySet[Batch], projects: Sequence[Project]
) -> tuple[list[Side], Project | None, list[str]]:
    """Return the sides, the one project that they are of, and in words what is left out.

    Only what is in `batches` and `projects` is found; the first batch says which project.
    """
    ids = [side for side in wanted.sides if not side.startswith(MODEL)]
    found = {
        batch.public_id: batch
        for batch in batches.filter(public_id__in=ids).select_related(
            "project", "output_file", "error_file"
        )
    }
    project = _project(wanted, found, projects)
    reached = _reached(list(found.values()))
    sides: list[Side] = []
    wrong: list[str] = []
    for key in wanted.sides:
        batch = found.get(key)
        if project is None:
            wrong.append(f"{key} is not there.")
        elif key.startswith(MODEL):
            name = key.removeprefix(MODEL)
            if _has_answered(name, project):
                sides.append(Side(key=key, model_name=name, project_id=project.pk))
            else:
                wrong.append(f"The model {name} has answered nothing in project {project.name}.")
        elif batch is None:
            wrong.append(f"There is no batch {key}.")
        elif batch.project_id != project.pk:
            wrong.append(f"{key} is of another project than the first: {batch.project.name}.")
        else:
            sides.append(
                Side(
                    key=key,
                    model_name=batch.model_name,
                    project_id=project.pk,
                    batch=batch,
                    is_indexed=reached.get(batch.pk, 0) >= batch.total > 0,
                )
            )
    return sides, project, wrong


def _project(
    wanted: Comparing, found: dict[str, Batch], projects: Sequence[Project]
) -> Project | None:
    for side in wanted.sides:
        if side in found:
            return found[side].project
    named = [one for one in projects if one.name == wanted.project]
    return next(iter([*named, *projects]), None)


def _reached(batches: Sequence[Batch]) -> dict[int, int]:
    rows = SearchProgress.objects.filter(batch__in=batches)
    return dict(rows.values_list("batch_id", "seq"))


def _has_answered(name: str, project: Project) -> bool:
    return ResponseSearch.objects.filter(model_name=name, project=project).exists()
