"""Addresses that were typed with a slash at their end."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve


def without_slash(request: HttpRequest) -> HttpResponse:
    """Lead to the address without its slash, if there is one; only of what is merely read.

    Comes last in the list of addresses. It never leads to another site: what resolves here begins
    with a single slash.
    """
    path = request.path.rstrip("/")
    if request.method not in ("GET", "HEAD"):
        raise Http404
    try:
        resolve(path)
    except Resolver404 as error:
        raise Http404 from error
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(f"{path}?{query}" if query else path)
