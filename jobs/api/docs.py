"""The addresses of the API's description: the OpenAPI schema and the page to try it on."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from jobs.api.view import UnknownView

urlpatterns = [
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    # The page's script is served by itself, so that the page needs no inline one.
    path("docs/api", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="api-reference"),
    path("v1", UnknownView.as_view()),
]
