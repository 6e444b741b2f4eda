"""The addresses of benchmarks."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("api/", include("benchmarks.api.urls")),
]
