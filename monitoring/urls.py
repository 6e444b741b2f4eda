"""The addresses of the status routes."""

from __future__ import annotations

from django.urls import path, re_path
from django.views.generic import RedirectView

from jobs.urls import BATCH
from monitoring.views import batch_figures, engine_log, home, monitor, routes, series

urlpatterns = [
    path("healthz", routes.healthz, name="healthz"),
    path("readyz", routes.readyz, name="readyz"),
    path("health", routes.health_view, name="health"),
    path("metrics", routes.metrics, name="metrics"),
    path("api/running-jobs", routes.running_jobs_view, name="running-jobs"),
    path("api/limits", routes.limits_view, name="limits"),
    path("api/gpu", routes.gpu_view, name="gpu"),
    path("api/series", series.series_view, name="series"),
    path("estimate", series.estimate_view, name="estimate"),
    re_path(rf"{BATCH}/figures$", batch_figures.batch_figures, name="batch-figures"),
    path("", home.home, name="home"),
    path("home/live", home.home_live, name="home-live"),
    path("monitor", monitor.monitor, name="monitor"),
    path("monitor/live", monitor.monitor_live, name="monitor-live"),
    path("monitor/lanes/<int:lane_id>/log", engine_log.engine_log, name="engine-log"),
    # What the page was called before.
    path("status", RedirectView.as_view(pattern_name="monitor")),
]
