"""Who may read the status routes: API keys, sessions, and near networks."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse

from jobs.models import Project, ProjectKey
from jobs.services.projects import find_key, projects_of
from jobs.services.throttle import note_use

# Set by proxies: whoever comes through one comes from anywhere.
_FORWARDED = ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via")


def bearer_key(request: HttpRequest) -> ProjectKey | None:
    """Return the request's API key, None without a usable one."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        return None
    key = find_key(secret.strip())
    if key is not None:
        note_use(key=key)
    return key


def visible_projects(
    request: HttpRequest, *, key: ProjectKey | None = None
) -> QuerySet[Project] | None:
    """Return the projects that the request may see, None if it says nothing of who asks.

    `key` is the request's own, for whoever has looked it up already.
    """
    if "Authorization" in request.headers:
        key = key or bearer_key(request)
        return Project.objects.filter(pk=key.project_id) if key else None
    return projects_of(request.user) if request.user.is_authenticated else None


def is_near(request: HttpRequest) -> bool:
    """Say whether the request comes straight from one of the networks in METRICS_NETWORKS."""
    if any(header in request.headers for header in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    networks = [ipaddress.ip_network(n, strict=False) for n in settings.METRICS_NETWORKS]
    return any((mapped or address) in network for network in networks)


def unauthorised() -> JsonResponse:
    error = {
        "message": "An API key (Authorization: Bearer KEY) or a login is needed.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    return JsonResponse({"error": error}, status=401, headers={"WWW-Authenticate": "Bearer"})
