"""Projects and their API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import ProtectedError, QuerySet

from jobs.models import Batch, Project, ProjectKey, StoredFile
from jobs.prepared import Prepared
from jobs.services.audit import note_deed
from jobs.services.limits import PROJECT_LIMITS
from jobs.services.masking import Change, told

DEFAULT_PROJECT = "default"


class StillUsed(Exception):
    """The project holds batches, files or gold stars."""


def get_project(*, name: str = DEFAULT_PROJECT) -> Project:
    """Return the project of this name, making it on first use."""
    with transaction.atomic():
        project, made = Project.objects.get_or_create(name=name)
        if made:
            note_deed(action="project.create", target=name, project=project)
    return project


def create_project(*, name: str, **fields: Any) -> Project:
    """Make a project; its name must be new."""
    with transaction.atomic():
        project = Project.objects.create(name=name, **fields)
        given = [Change(field, None, value) for field, value in fields.items() if value]
        note_deed(action="project.create", target=name, project=project, changes=told(given))
    return project


def change_project(*, project: Project, **fields: Any) -> list[Change]:
    """Give these fields of a project new values; return what has really changed.

    Limits are noted as a deed of their own, since they are asked after by themselves.
    """
    with transaction.atomic():
        held = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        changes = [
            Change(field, old, new)
            for field, new in fields.items()
            if (old := getattr(held, field)) != new
        ]
        for change in changes:
            setattr(held, change.field, change.new)
        if changes:
            held.save(update_fields=[change.field for change in changes])
        limits = [change for change in changes if change.field in PROJECT_LIMITS]
        others = [change for change in changes if change.field not in PROJECT_LIMITS]
        for action, some in (("project.limits", limits), ("project.change", others)):
            if some:
                note_deed(action=action, target=held.name, project=held, changes=told(some))
    return changes


def delete_project(*, project: Project) -> None:
    """Delete a project with its keys and members; StillUsed unless it is empty.

    What other apps keep for ever, such as gold stars, protects its project.
    """
    with transaction.atomic():
        # Locked whole: nothing can be put into it between the look and the deleting.
        held = Project.objects.select_for_update().get(pk=project.pk)
        if is_used(held):
            raise StillUsed(held.name)
        note_deed(action="project.delete", target=held.name)
        try:
            held.delete()
        except ProtectedError as error:
            raise StillUsed(held.name) from error


def is_used(project: Project) -> bool:
    """Say whether a project holds a batch, be it one whose rows are still to go, or a file."""
    return (
        Batch.every.filter(project=project).exists()
        or StoredFile.objects.filter(project=project).exists()
    )


def create_key(
    *,
    project: Project,
    name: str,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
) -> tuple[ProjectKey, str]:
    """Make an API key; the second part is the key itself, which is kept nowhere."""
    with transaction.atomic():
        made, secret = ProjectKey.objects.create_key(
            name=name[:50],
            project=project,
            expiry_date=expires_at,
            requests_per_minute=requests_per_minute,
        )
        key = cast(ProjectKey, made)
        note_deed(
            action="key.create",
            target=key_words(key),
            project=project,
            expires_at=expires_at.isoformat() if expires_at else None,
            requests_per_minute=requests_per_minute,
        )
    return key, secret


def change_key_limit(*, keys: QuerySet[ProjectKey], requests_per_minute: int | None) -> int:
    """Give keys another limit (None: the setting's, 0: none); return how many have changed."""
    with transaction.atomic():
        held = list(keys.exclude(requests_per_minute=requests_per_minute).select_for_update())
        for key in held:
            note_deed(
                action="key.change",
                target=key_words(key),
                project_id=key.project_id,
                requests_per_minute={"old": key.requests_per_minute, "new": requests_per_minute},
            )
            key.requests_per_minute = requests_per_minute
            key.save(update_fields=["requests_per_minute"])
    return len(held)


def revoke_key(*, key: ProjectKey) -> None:
    revoke_keys(keys=ProjectKey.objects.filter(pk=key.pk))


def revoke_keys(*, keys: QuerySet[ProjectKey]) -> int:
    """Let keys open nothing from now on; return how many did until now."""
    with transaction.atomic():
        held = list(keys.filter(revoked=False).select_for_update())
        for key in held:
            note_deed(action="key.revoke", target=key_words(key), project_id=key.project_id)
            key.revoked = True
            key.save(update_fields=["revoked"])
    return len(held)


def find_key(secret: str) -> ProjectKey | None:
    """Return the usable key with this secret, None if unknown, revoked or expired."""
    if "\0" in secret:
        return None
    # The library's own look-up would leave the project to a second query, in each request.
    found = _USABLE.fetch(prefix=secret.partition(".")[0])
    if not found:
        return None
    row = found[0]
    key = ProjectKey.from_db(DEFAULT_DB_ALIAS, _KEY_COLUMNS, row[: len(_KEY_COLUMNS)])
    key.project = Project.from_db(DEFAULT_DB_ALIAS, _PROJECT_COLUMNS, row[len(_KEY_COLUMNS) :])
    # It leaves out revoked keys, but not expired ones.
    return None if not key.is_valid(secret) or key.has_expired else key


def _usable(*, prefix: str) -> QuerySet[ProjectKey]:
    keys = ProjectKey.objects.get_usable_keys().select_related("project")
    return keys.filter(prefix=prefix).order_by()


_USABLE = Prepared(_usable, prefix="the first characters of a key")
_KEY_COLUMNS = [field.attname for field in ProjectKey._meta.concrete_fields]
_PROJECT_COLUMNS = [field.attname for field in Project._meta.concrete_fields]


def key_words(key: ProjectKey) -> str:
    """Name a key in words; its prefix is no secret."""
    return f"{key.name} ({key.prefix})"


def projects_of(user: Any) -> QuerySet[Project]:
    """Return the projects that a person may see in pages and `/api/*`."""
    if user.is_superuser:
        return Project.objects.all()
    return Project.objects.filter(members=user)
