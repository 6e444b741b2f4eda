"""Which batches and files a person may see and change; what is foreign is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from jobs.models import Batch, Membership, Project, Purpose, Role, StoredFile
from jobs.services.batches import overdue_batches, settle_batch
from jobs.services.files import visible_files
from jobs.services.projects import projects_of

_MAY_CHANGE = (Role.OWNER, Role.MEMBER)


def visible_batches(user: Any) -> QuerySet[Batch]:
    """Return the batches of a person's projects, those that are overdue settled first."""
    for batch_id in overdue_batches():
        settle_batch(batch_id=batch_id)
    return Batch.objects.filter(project__in=projects_of(user))


def access_batch(user: Any, public_id: str) -> Batch:
    """Return a batch by its id; Http404 if it is unknown or of a foreign project."""
    batches = visible_batches(user).select_related(
        "project", "model", "input_file", "output_file", "error_file", "parent"
    )
    batch = batches.filter(public_id=public_id).first()
    if batch is None:
        raise Http404(f"No batch found with id '{public_id}'.")
    return batch


def may_change(user: Any, batch: Batch) -> bool:
    """Say whether a person may change a batch: viewers may not."""
    return batch.project_id in changeable_projects(user, [batch])


def projects_to_submit_to(user: Any) -> QuerySet[Project]:
    """Return the projects in which a person may make batches, by name."""
    projects = projects_of(user)
    if not user.is_superuser:
        projects = projects.filter(membership__user=user, membership__role__in=_MAY_CHANGE)
    return projects.order_by("name")


def access_input(user: Any, public_id: str) -> StoredFile:
    """Return an input file by its id, to make a batch of it.

    Http404 if it is unknown, gone or of a foreign project; PermissionDenied for viewers.
    """
    stored = StoredFile.objects.filter(
        project__in=projects_of(user), public_id=public_id, purpose=Purpose.BATCH
    ).first()
    found = stored and visible_files(stored.project).filter(pk=stored.pk).first()
    if not found:
        raise Http404(f"No input file found with id '{public_id}'.")
    if not projects_to_submit_to(user).filter(pk=found.project_id).exists():
        raise PermissionDenied("Viewers of a project cannot submit batches to it.")
    return found


def changeable_projects(user: Any, batches: Sequence[Batch]) -> set[int]:
    """Return the projects of these batches whose batches a person may change."""
    projects = {batch.project_id for batch in batches}
    if user.is_superuser:
        return projects
    found = Membership.objects.filter(user=user, project__in=projects, role__in=_MAY_CHANGE)
    return set(found.values_list("project_id", flat=True))
