"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("v1/", include("jobs.api.urls")),
    path("", include("jobs.api.docs")),
    path("", include("monitoring.urls")),
    path("", include("jobs.urls")),
]

# Under /v1 errors are JSON, wherever they come from.
handler400 = "jobs.api.errors.handler400"
handler403 = "jobs.api.errors.handler403"
handler404 = "jobs.api.errors.handler404"
handler500 = "jobs.api.errors.handler500"
