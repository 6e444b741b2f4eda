"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path

from vbatch_site.trailing_slash import without_slash

urlpatterns = [
    path("admin/", admin.site.urls),
    path("v1/", include("jobs.api.urls")),
    path("", include("jobs.api.docs")),
    path("", include("monitoring.urls")),
    path("", include("curation.urls")),
    path("", include("benchmarks.urls")),
    path("", include("jobs.urls")),
    re_path(r"^.+/$", without_slash),
]

# Under /v1 errors are JSON, wherever they come from.
handler400 = "jobs.api.errors.handler400"
handler403 = "jobs.api.errors.handler403"
handler404 = "jobs.api.errors.handler404"
handler500 = "jobs.api.errors.handler500"
