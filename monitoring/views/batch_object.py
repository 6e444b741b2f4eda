"""A batch as the API gives it, for a person to look at."""

from __future__ import annotations

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs.api.objects import batch_object
from jobs.services.waiting import waiting_for
from jobs.views.access import access_batch
from jobs.views.raw import pretty


@require_GET
@login_required
def batch_object_view(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = access_batch(request.user, public_id)
    raw = json.dumps(batch_object(batch, waiting_for=waiting_for(batch))).encode()
    text, chars = pretty(raw)
    context = {"text": text, "chars": chars, "is_cut": chars > len(text), "bytes": len(raw)}
    return render(request, "jobs/_raw.html", context)
