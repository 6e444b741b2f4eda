"""Whose deed a request is: of the key that it brings, else of the user who is logged in."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from jobs.services.audit import Actor, acting
from jobs.services.projects import key_words

NOBODY = Actor("nobody known")


class ActingMiddleware:
    """Names the actor of what is noted while a request is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting(lambda: _actor(request)):
            return self.get_response(request)


def _actor(request: HttpRequest) -> Actor:
    key = getattr(request, "api_key", None)
    if key is not None:
        return Actor(f"key {key_words(key)}")
    if request.user.is_authenticated:
        return Actor(request.user.get_username(), request.user.pk)
    return NOBODY
