"""Projects and their API keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Project, ProjectKey

DEFAULT_PROJECT = "default"
# `last_used_at` is for a person to look at; writing it for each request would be for nothing.
USED_WRITE_EVERY_S = 60


def get_project(*, name: str = DEFAULT_PROJECT) -> Project:
    """Return the project of this name, making it on first use."""
    project, _ = Project.objects.get_or_create(name=name)
    return project


def create_key(
    *, project: Project, name: str, expires_at: datetime | None = None
) -> tuple[ProjectKey, str]:
    """Make an API key; the second part is the key itself, which is kept nowhere."""
    key, secret = ProjectKey.objects.create_key(
        name=name[:50], project=project, expiry_date=expires_at
    )
    return cast(ProjectKey, key), secret


def revoke_key(*, key: ProjectKey) -> None:
    revoke_keys(keys=ProjectKey.objects.filter(pk=key.pk))


def revoke_keys(*, keys: QuerySet[ProjectKey]) -> int:
    return keys.update(revoked=True)


def find_key(secret: str) -> ProjectKey | None:
    """Return the usable key with this secret, None if unknown, revoked or expired."""
    if "\0" in secret:
        return None
    try:
        # A manager with select_related() has no look-up by secret any more.
        key = cast(ProjectKey, ProjectKey.objects.get_from_key(secret))
    except ProjectKey.DoesNotExist:
        return None
    # The library's look-up leaves out revoked keys, but not expired ones.
    if key.has_expired:
        return None
    stale = timezone.now() - timedelta(seconds=USED_WRITE_EVERY_S)
    ProjectKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=key.pk).update(
        last_used_at=Now()
    )
    return key


def projects_of(user: Any) -> QuerySet[Project]:
    """Return the projects that a person may see in pages and `/api/*`."""
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(members=user)
