"""Who is logged in: every request of an open page asks, so both statements are written once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from jobs.prepared import Prepared

_COLUMNS = [field.attname for field in User._meta.concrete_fields]
_live_session = Prepared(
    lambda *, key, now: Session.objects.filter(session_key=key, expire_date__gt=now).values_list(
        "session_data"
    ),
    key="a key",
    now=datetime(1970, 1, 1, tzinfo=UTC),
)
_user = Prepared(lambda *, pk: User.objects.filter(pk=pk).values_list(*_COLUMNS), pk=-1)


class SessionStore(db.SessionStore):
    """Sessions in the database, as Django keeps them."""

    def load(self) -> dict[str, Any]:
        """Return what is kept of the session; empty if there is none that is still good."""
        key = self.session_key
        # PostgreSQL's texts hold no NUL, a cookie may.
        rows = _live_session.fetch(key=key, now=timezone.now()) if "\0" not in (key or "") else []
        if not rows:
            self._session_key = None
            return {}
        return self.decode(rows[0][0])


class Users(ModelBackend):
    """Django's users, by name and password."""

    def get_user(self, user_id: int) -> User | None:
        """Return the user of this id; None if there is none who may be logged in."""
        rows = _user.fetch(pk=user_id)
        if not rows:
            return None
        user = User.from_db(DEFAULT_DB_ALIAS, _COLUMNS, rows[0])
        return user if self.user_can_authenticate(user) else None
