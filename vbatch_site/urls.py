"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("v1/", include("jobs.api.urls")),
    path("", include("monitoring.urls")),
    path("", include("jobs.urls")),
]
