"""Which of curation's things a person may see and change; what is foreign is not there."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from curation.models import Dataset, DatasetVersion, ReviewSet
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to


def visible_datasets(user: Any) -> QuerySet[Dataset]:
    return Dataset.objects.filter(project__in=projects_of(user)).select_related("project")


def access_dataset(user: Any, public_id: str) -> Dataset:
    """Return a data set by its id; Http404 if it is unknown or of a foreign project."""
    found = visible_datasets(user).filter(public_id=public_id).first()
    if found is None:
        raise Http404(f"No data set found with id '{public_id}'.")
    return found


def access_version(user: Any, public_id: str, number: int | str) -> DatasetVersion:
    dataset = access_dataset(user, public_id)
    found = dataset.versions.filter(number=int(number)).first()
    if found is None:
        raise Http404(f"The data set has no version {number}.")
    found.dataset = dataset
    return found


def visible_review_sets(user: Any) -> QuerySet[ReviewSet]:
    return ReviewSet.objects.filter(project__in=projects_of(user)).select_related("project")


def access_review_set(user: Any, public_id: str) -> ReviewSet:
    """Return a review set by its id; Http404 if it is unknown or of a foreign project."""
    found = visible_review_sets(user).filter(public_id=public_id).first()
    if found is None:
        raise Http404(f"No review set found with id '{public_id}'.")
    return found


def may_curate(user: Any, project_id: int) -> bool:
    """Say whether a person may change what a project keeps: viewers may not."""
    return projects_to_submit_to(user).filter(pk=project_id).exists()


def check_may_curate(user: Any, project_id: int) -> None:
    if not may_curate(user, project_id):
        raise PermissionDenied("Viewers of a project cannot change anything in it.")
