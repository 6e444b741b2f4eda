"""The addresses of curation."""

from __future__ import annotations

from django.urls import include, path, re_path

from curation.views.dataset_version import (
    export_file,
    version,
    version_discard,
    version_export,
    version_freeze,
    version_live,
    version_rejects,
)
from curation.views.datasets import dataset, dataset_diff, datasets, version_create
from curation.views.result_files import results_csv, results_jsonl
from curation.views.results import results
from curation.views.starring import star, stars_bulk, undo
from jobs.urls import LINE

_DATASET = r"^datasets/(?P<public_id>dset_[0-9a-f]{32})"
_VERSION = rf"{_DATASET}/versions/(?P<number>[0-9]{{1,9}})"

urlpatterns = [
    path("results", results, name="results"),
    path("results.csv", results_csv, name="results-csv"),
    path("results.jsonl", results_jsonl, name="results-jsonl"),
    path("results/stars/<str:verb>", stars_bulk, name="stars-bulk"),
    re_path(rf"{LINE}/star$", star, name="star"),
    re_path(r"^undo/(?P<deed>[0-9a-f]{32})$", undo, name="undo-gold"),
    path("datasets", datasets, name="datasets"),
    re_path(rf"{_DATASET}$", dataset, name="dataset"),
    re_path(rf"{_DATASET}/diff$", dataset_diff, name="dataset-diff"),
    re_path(rf"{_DATASET}/versions$", version_create, name="version-create"),
    re_path(rf"{_VERSION}$", version, name="dataset-version"),
    re_path(rf"{_VERSION}/live$", version_live, name="version-live"),
    re_path(rf"{_VERSION}/freeze$", version_freeze, name="version-freeze"),
    re_path(rf"{_VERSION}/discard$", version_discard, name="version-discard"),
    re_path(rf"{_VERSION}/exports$", version_export, name="version-export"),
    re_path(rf"{_VERSION}/rejects$", version_rejects, name="version-rejects"),
    re_path(r"^exports/(?P<public_id>export_[0-9a-f]{32})$", export_file, name="export-file"),
    path("api/", include("curation.api.urls")),
]
