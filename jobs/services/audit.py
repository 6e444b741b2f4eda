"""Writing down who did what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from jobs.models import AuditEntry, Project


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, in words; `user_id` where it is a person with an account."""

    words: str
    user_id: int | None = None


SYSTEM = Actor("vbatch")
# Asked only when something is noted: finding out who a request comes from takes a query.
_who: ContextVar[Callable[[], Actor]] = ContextVar("actor", default=lambda: SYSTEM)


@contextmanager
def acting(who: Callable[[], Actor]) -> Iterator[None]:
    """Let what is noted inside be the deed of `who()`."""
    token = _who.set(who)
    try:
        yield
    finally:
        _who.reset(token)


def current_actor() -> Actor:
    """Return whose deed it is what is done just now."""
    return _who.get()()


def note_deed(
    *,
    action: str,
    target: str,
    project: Project | None = None,
    project_id: int | None = None,
    **details: Any,
) -> None:
    """Note a deed such as `model.change` of `target`, in the transaction that does it.

    `details` are values of JSON: what was asked for or changed, never a secret or a prompt.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("A deed must be noted in the transaction that does it.")
    actor = current_actor()
    AuditEntry.objects.create(
        created_at=Now(),
        actor=actor.words[:200],
        user_id=actor.user_id,
        project_id=project.pk if project is not None else project_id,
        action=action,
        target=target[:300],
        details=details,
    )
