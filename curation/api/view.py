"""What the routes under /api share: a key or a session, and the projects that it opens."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from jobs.api.authentication import BearerKeyAuthentication, Caller
from jobs.api.errors import ApiError
from jobs.api.view import ApiView
from jobs.models import Project
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to


class _Session(SessionAuthentication):
    """The session of a page; its token is looked for without parsing a body that is a file."""

    def enforce_csrf(self, request: Any) -> None:
        super().enforce_csrf(request._request)


class KeyOrSession(BearerKeyAuthentication):
    """A bearer key where one is sent, else the session of a page, with its CSRF token."""

    def authenticate(self, request: Request) -> Any:
        if request.META.get("HTTP_AUTHORIZATION"):
            return super().authenticate(request)
        found = _Session().authenticate(request)
        if found is None:
            raise AuthenticationFailed(
                "An API key (Authorization: Bearer KEY) or a login is needed."
            )
        return found


class CurationView(ApiView):
    """A route for whoever has a key of a project, or is logged in and belongs to some."""

    authentication_classes = [KeyOrSession]
    # Described in docs/curation.md; the schema is that of the Batch API.
    schema = None

    @property
    def projects(self) -> QuerySet[Project]:
        """The projects whose rows may be seen."""
        if isinstance(self.request.user, Caller):
            return Project.objects.filter(pk=self.request.user.project.pk)
        return projects_of(self.request.user)

    def project_named(self, name: str | None) -> Project:
        """Return the key's project, or the one that a person names or has alone."""
        if isinstance(self.request.user, Caller) and name is None:
            return self.request.user.project
        projects = self.projects if name is None else self.projects.filter(name=name)
        found = list(projects[:2])
        if len(found) == 1:
            return found[0]
        words = "Name one of your projects in 'project'."
        raise ApiError(words, param="project", code="invalid_value")

    def check_may_change(self, project_id: int) -> None:
        """Refuse who may only look: viewers of the project."""
        if isinstance(self.request.user, Caller):
            return
        if not projects_to_submit_to(self.request.user).filter(pk=project_id).exists():
            raise ApiError("Viewers of a project cannot change anything in it.", status=403)
