"""The addresses of the status routes."""

from __future__ import annotations

from django.urls import path

from monitoring import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("health", views.health_view, name="health"),
    path("metrics", views.metrics, name="metrics"),
    path("api/running-jobs", views.running_jobs_view, name="running-jobs"),
    path("api/limits", views.limits_view, name="limits"),
    path("status", views.status, name="status"),
    path("status/live", views.status_live, name="status-live"),
]
