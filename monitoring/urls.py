"""The addresses of the status routes."""

from __future__ import annotations

from django.urls import path, re_path

from jobs.urls import BATCH
from monitoring.views import batch_figures, routes, series, status

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
    path("status", status.status, name="status"),
    path("status/live", status.status_live, name="status-live"),
]
