"""What the page of a batch asks of monitoring: its figures, again and again."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from jobs.views.access import access_batch
from jobs.views.live import live_fragment
from monitoring.figures_shown import show_figures


@require_GET
@login_required
def batch_figures(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = access_batch(request.user, public_id)
    return live_fragment(request, "monitoring/_batch_figures.html", show_figures(batch))
