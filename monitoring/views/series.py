"""What charts ask for again and again, and the estimate for a file that is not yet a batch."""

from __future__ import annotations

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs.models import Batch
from jobs.services.fleet import any_worker_alive
from jobs.views.api_access import unauthorised, visible_projects
from monitoring.eta import estimate_work
from monitoring.series import BadQuery, read_query, read_series

_encode = msgspec.json.Encoder().encode


@never_cache
@require_safe
def series_view(request: HttpRequest) -> HttpResponse:
    """Answer with samples since the asker's cursor, or 304 where there are none."""
    projects = visible_projects(request)
    if projects is None:
        return unauthorised()
    try:
        query = read_query(request.GET.dict(), Batch.objects.filter(project__in=projects))
        answer = read_series(query)
    except BadQuery as error:
        body = {
            "message": str(error),
            "type": "invalid_request_error",
            "param": error.param,
            "code": "invalid_value",
        }
        return JsonResponse({"error": body}, status=404 if error.param == "batch" else 400)
    if answer is None:
        return HttpResponse(status=304)
    return HttpResponse(_encode(answer), content_type="application/json")


@never_cache
@require_safe
def estimate_view(request: HttpRequest) -> HttpResponse:
    """Answer with a fragment: how long so much work would take, and what that rests on."""
    if not request.user.is_authenticated:
        return unauthorised()
    numbers = [request.GET.get(name, "") for name in ("requests", "tokens")]
    if not all(text.isascii() and text.isdigit() and len(text) < 16 for text in numbers):
        return HttpResponse("requests and tokens must be whole numbers", status=400)
    model_name = request.GET.get("model", "")[:200].replace("\0", "")
    estimate = estimate_work(
        model_name=model_name, requests=int(numbers[0]), tokens=int(numbers[1])
    )
    context = {
        "estimate": estimate,
        "model_name": model_name,
        "has_worker": any_worker_alive(),
    }
    return render(request, "monitoring/_estimate.html", context)
