"""The end of an engine's log, for staff, with its age: old lines are no progress."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from jobs.engines.log import tail
from jobs.models import Lane
from jobs.views.live import live_fragment

LINES = 100
BYTES = 32 * 1024
# An engine at work writes a line every ten seconds.
STALE_AFTER_S = 30


@require_safe
@login_required
def engine_log(request: HttpRequest, lane_id: int) -> HttpResponse:
    # It may hold paths, arguments and, if so told, prompts of any project.
    if not request.user.is_staff:
        raise PermissionDenied("The logs of engines are for administrators.")
    lane = get_object_or_404(Lane.objects.select_related("worker"), pk=lane_id)
    name = f"engine-{lane.worker.name}-{lane.name}.log"
    path = settings.LOG_DIR / name
    written_at, lines = None, []
    try:
        # A worker may call itself anything; what it names must lie in this folder all the same.
        if path.parent == settings.LOG_DIR and "/" not in name:
            written_at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
            lines = tail(path, size=BYTES).splitlines()[-LINES:]
    except OSError:
        written_at, lines = None, []  # Another host's, or none yet; the page says where it is.
    context = {
        "lane": lane,
        "file": f"log/{name}",
        "written_at": written_at,
        "text": "\n".join(lines),
        "stale_after_s": STALE_AFTER_S,
    }
    return live_fragment(request, "monitoring/_log.html", context)
