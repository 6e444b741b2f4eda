"""Logging in with a one-time link."""

from __future__ import annotations

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs.services.login_links import use_login_token


# Only GET: a HEAD, as link previews send it, must not spend the link.
@never_cache
@require_http_methods(["GET"])
def login_link(request: HttpRequest, token: str) -> HttpResponse:
    """Log in and go to the local page `next`; a spent link of one who is logged in goes too."""
    target = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = "home"
    user = use_login_token(token)
    if user is not None:
        login(request, user)
    elif not request.user.is_authenticated:
        return render(request, "registration/login_link_spent.html", status=403)
    return redirect(target)
