"""Which batches and files a person may see and change; what is foreign is not there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone

from jobs.models import Batch, Membership, Project, Purpose, Role, StoredFile
from jobs.services.batches import overdue_batches, settle_batch
from jobs.services.files import visible_files
from jobs.services.projects import projects_of

SETTLE_FOR_S = 0.1
_CHANGING = (Role.OWNER, Role.MEMBER)


def visible_batches(user: Any, projects: Sequence[Project] | None = None) -> QuerySet[Batch]:
    """Return the batches of a person's projects, those that are overdue settled first.

    `projects` are these, where they were read already: named one by one they let the database
    judge how many rows they have.
    """
    _settle_overdue()
    if user.is_superuser:
        return Batch.objects.all()
    if projects is None:
        return Batch.objects.filter(project__in=projects_of(user))
    return Batch.objects.filter(project__in=[project.pk for project in projects])


def access_batch(user: Any, public_id: str) -> Batch:
    """Return a batch by its id; Http404 if it is unknown or of a foreign project."""
    batches = visible_batches(user).select_related("project", "model", "output_file", "error_file")
    try:
        # Not first(), which would sort, and have Django hash every column for it.
        batch = batches.get(public_id=public_id)
    except Batch.DoesNotExist:
        raise Http404(f"No batch found with id '{public_id}'.") from None
    if batch.is_live and batch.expires_at <= timezone.now() and settle_batch(batch_id=batch.pk):
        # It was not its turn yet among those that are overdue.
        return batches.get(pk=batch.pk)
    return batch


def _settle_overdue() -> None:
    """Settle what is overdue, for a moment: a page does not wait for hundreds of them."""
    until = time.monotonic() + SETTLE_FOR_S
    for batch_id in overdue_batches():
        settle_batch(batch_id=batch_id)
        if time.monotonic() > until:
            break


def may_change(user: Any, batch: Batch) -> bool:
    """Say whether a person may change a batch: viewers may not."""
    return batch.project_id in changeable_projects(user, [batch])


def projects_to_submit_to(user: Any) -> QuerySet[Project]:
    """Return the projects in which a person may make batches, by name."""
    projects = projects_of(user)
    if not user.is_superuser:
        projects = projects.filter(membership__user=user, membership__role__in=_CHANGING)
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
    found = Membership.objects.filter(user=user, project__in=projects, role__in=_CHANGING)
    return set(found.values_list("project_id", flat=True))


def may_change_any(user: Any) -> bool:
    """Say whether there is any project whose batches a person may change."""
    return bool(
        user.is_superuser or Membership.objects.filter(user=user, role__in=_CHANGING).exists()
    )
