"""The addresses of curation."""

from __future__ import annotations

from django.urls import include, path, re_path

from curation.views.adjudicating import adjudicate_item, disagreed
from curation.views.compare import compare, compare_figures, compare_row
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
from curation.views.rerun import rerun
from curation.views.result_files import results_csv, results_jsonl
from curation.views.results import results
from curation.views.review_sets import (
    review_items,
    review_set,
    review_set_add,
    review_set_change,
    review_set_star,
    review_sets,
)
from curation.views.reviewing import review_item, review_next
from curation.views.star_importing import (
    star_import,
    star_import_discard,
    star_import_live,
    star_import_new,
    star_import_refused,
    star_import_start,
)
from curation.views.starring import star, stars_bulk, undo
from curation.views.voting import (
    comparison,
    comparison_create,
    comparison_undo,
    comparison_vote,
)
from jobs.urls import LINE

_DATASET = r"^datasets/(?P<public_id>dset_[0-9a-f]{32})"
_VERSION = rf"{_DATASET}/versions/(?P<number>[0-9]{{1,9}})"
_SET = r"^curation/(?P<public_id>rset_[0-9a-f]{32})"
_IMPORT = r"^gold/import/(?P<public_id>starimport_[0-9a-f]{32})"
_AT = r"(?P<position>[0-9]{1,9})"
_COMPARISON = r"^compare/(?P<public_id>cmp_[0-9a-f]{32})"

urlpatterns = [
    path("curation", review_sets, name="review-sets"),
    re_path(rf"{_SET}$", review_set, name="review-set"),
    re_path(rf"{_SET}/add$", review_set_add, name="review-set-add"),
    re_path(rf"{_SET}/change$", review_set_change, name="review-set-change"),
    re_path(rf"{_SET}/star$", review_set_star, name="review-set-star"),
    re_path(rf"{_SET}/review$", review_next, name="review-next"),
    re_path(rf"{_SET}/review/{_AT}$", review_item, name="review-item"),
    re_path(rf"{_SET}/items$", review_items, name="review-items"),
    re_path(rf"{_SET}/adjudicate$", disagreed, name="adjudicate"),
    re_path(rf"{_SET}/adjudicate/{_AT}$", adjudicate_item, name="adjudicate-item"),
    path("results", results, name="results"),
    path("results.csv", results_csv, name="results-csv"),
    path("results.jsonl", results_jsonl, name="results-jsonl"),
    path("results/rerun", rerun, name="rerun"),
    path("results/stars/<str:verb>", stars_bulk, name="stars-bulk"),
    re_path(rf"{LINE}/star$", star, name="star"),
    re_path(r"^undo/(?P<deed>[0-9a-f]{32})$", undo, name="undo-gold"),
    path("gold/import", star_import_new, name="star-import-new"),
    re_path(rf"{_IMPORT}$", star_import, name="star-import"),
    re_path(rf"{_IMPORT}/live$", star_import_live, name="star-import-live"),
    re_path(rf"{_IMPORT}/start$", star_import_start, name="star-import-start"),
    re_path(rf"{_IMPORT}/discard$", star_import_discard, name="star-import-discard"),
    re_path(rf"{_IMPORT}/refused$", star_import_refused, name="star-import-refused"),
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
    path("compare", compare, name="compare"),
    path("compare/figures", compare_figures, name="compare-figures"),
    path("compare/row", compare_row, name="compare-row"),
    path("compare/votes", comparison_create, name="comparison-create"),
    re_path(rf"{_COMPARISON}$", comparison, name="comparison"),
    re_path(rf"{_COMPARISON}/vote$", comparison_vote, name="comparison-vote"),
    re_path(rf"{_COMPARISON}/undo$", comparison_undo, name="comparison-undo"),
    path("api/", include("curation.api.urls")),
]
