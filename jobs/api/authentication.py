"""Who calls the API: a bearer key, which acts for its project."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from jobs.models import Project, ProjectKey
from jobs.services.projects import find_key


@dataclass(frozen=True)
class Caller:
    """The user of an API request: no person, but a project."""

    project: Project
    is_authenticated: bool = True


class BearerKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`; a key that is missing, unknown, revoked or expired is 401."""

    def authenticate(self, request: Request) -> tuple[Caller, ProjectKey]:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise AuthenticationFailed(
                "You didn't provide an API key. Send it in an Authorization header: "
                "Authorization: Bearer YOUR_KEY."
            )
        key = find_key(secret)
        if key is None:
            raise AuthenticationFailed(
                f"Incorrect API key provided: {_hint(secret)}. It is unknown, revoked or expired."
            )
        # Read by whoever asks whose deed this is.
        request._request.api_key = key  # type: ignore[attr-defined]
        return Caller(key.project), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _hint(secret: str) -> str:
    """Enough to tell which key it was; the part before the dot is no secret."""
    return f"{secret[:4]}***" if len(secret) > 12 else "***"
