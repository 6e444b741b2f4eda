"""One-time login links: signed, short-lived, and worth nothing once used."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.signing import BadSignature, TimestampSigner
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

LIFETIME_S = 900
_SALT = "jobs.login_link"


def create_login_token(*, user: User) -> str:
    """Return a token that logs `user` in once, within LIFETIME_S seconds.

    A login or a new password, of whatever kind, makes every earlier token worthless.
    """
    return TimestampSigner(salt=_SALT).sign(f"{user.pk}.{_fingerprint(user)}")


def use_login_token(token: str) -> User | None:
    """Spend a token and return its user; None if it is forged, too old or spent."""
    try:
        value = TimestampSigner(salt=_SALT).unsign(token, max_age=LIFETIME_S)
    except BadSignature:
        return None
    pk, _, fingerprint = value.partition(".")
    users = get_user_model()._default_manager
    user = users.filter(pk=pk, is_active=True).first()
    if user is None or not constant_time_compare(_fingerprint(user), fingerprint):
        return None
    # Of two who bring the token at the same time, one finds `last_login` moved.
    spent = users.filter(pk=pk, last_login=user.last_login).update(last_login=timezone.now())
    return user if spent else None


def _fingerprint(user: User) -> str:
    state = f"{user.pk}|{user.password}|{user.last_login and user.last_login.isoformat()}"
    return salted_hmac(_SALT, state, algorithm="sha256").hexdigest()[:32]
