"""The addresses of curation under /api; none ends in a slash."""

from __future__ import annotations

from django.urls import path

from curation.api import discover, export, gold, gold_import, results

urlpatterns = [
    path("gold-star", gold.GoldStarsView.as_view(), name="api-gold-stars"),
    path("gold-star/import", gold_import.ImportView.as_view(), name="api-gold-import"),
    path(
        "gold-star/import/<str:import_id>",
        gold_import.ImportedView.as_view(),
        name="api-gold-imported",
    ),
    path("gold-star/<str:gold_id>", gold.GoldStarView.as_view(), name="api-gold-star"),
    path("export-gold-star", export.ExportView.as_view(), name="api-export-gold-star"),
    path("discover", discover.DiscoverView.as_view(), name="api-discover"),
    path("results", results.ResultsView.as_view(), name="api-results"),
]
