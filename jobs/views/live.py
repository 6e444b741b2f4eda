"""Fragments that a page asks for again and again."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.loader import render_to_string
from django.utils.cache import patch_cache_control


def live_fragment(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Return a fragment, or 304 where it is what the page already shows.

    Fragments hold no ages and no tokens, so that the same facts give the same bytes.
    """
    html = render_to_string(template, context, request=request)
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    response: HttpResponse
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponseNotModified()
    else:
        response = HttpResponse(html)
    response["ETag"] = etag
    patch_cache_control(response, private=True, no_cache=True)
    return response
