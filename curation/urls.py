"""The addresses of curation."""

from __future__ import annotations

from django.urls import include, path, re_path

from curation.views.result_files import results_csv, results_jsonl
from curation.views.results import results
from curation.views.starring import star, stars_bulk, undo
from jobs.urls import LINE

urlpatterns = [
    path("results", results, name="results"),
    path("results.csv", results_csv, name="results-csv"),
    path("results.jsonl", results_jsonl, name="results-jsonl"),
    path("results/stars/<str:verb>", stars_bulk, name="stars-bulk"),
    re_path(rf"{LINE}/star$", star, name="star"),
    re_path(r"^undo/(?P<deed>[0-9a-f]{32})$", undo, name="undo-gold"),
    path("api/", include("curation.api.urls")),
]
