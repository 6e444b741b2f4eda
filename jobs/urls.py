"""The addresses of the pages."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path, re_path
from django.views.generic import RedirectView

from jobs.views.answers import line_text
from jobs.views.api_docs import api_docs
from jobs.views.batch_deeds import (
    batch_cancel,
    batch_delete,
    batch_pause,
    batch_resume,
    batch_retry,
)
from jobs.views.batch_detail import batch_detail, batch_detail_live
from jobs.views.batch_list import batch_list, batch_list_live
from jobs.views.bulk_deeds import batches_bulk
from jobs.views.downloads import batch_file
from jobs.views.line_page import line_page, line_page_live
from jobs.views.login import login_link
from jobs.views.raw import batch_raw, line_raw
from jobs.views.submit import submit
from jobs.views.submit_review import submit_create, submit_discard, submit_review

BATCH = r"^batches/(?P<public_id>batch_[0-9a-zA-Z]{1,58})"
LINE = rf"{BATCH}/lines/(?P<position>[0-9]{{1,9}})"
_INPUT = r"^submit/(?P<file_id>file-[0-9a-zA-Z]{1,58})"

urlpatterns = [
    # No address of ours but the admin's ends in a slash, so few will type it.
    path("admin", RedirectView.as_view(url="/admin/")),
    path("login", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("login/link/<str:token>", login_link, name="login-link"),
    path("logout", LogoutView.as_view(next_page="login"), name="logout"),
    path("docs", api_docs, name="docs"),
    path("submit", submit, name="submit"),
    re_path(rf"{_INPUT}$", submit_review, name="submit-review"),
    re_path(rf"{_INPUT}/create$", submit_create, name="submit-create"),
    re_path(rf"{_INPUT}/discard$", submit_discard, name="submit-discard"),
    path("batches", batch_list, name="batch-list"),
    path("batches/live", batch_list_live, name="batch-list-live"),
    path("batches/bulk/<str:verb>", batches_bulk, name="batches-bulk"),
    re_path(rf"{BATCH}$", batch_detail, name="batch-detail"),
    re_path(rf"{BATCH}/live$", batch_detail_live, name="batch-detail-live"),
    re_path(rf"{BATCH}/cancel$", batch_cancel, name="batch-cancel"),
    re_path(rf"{BATCH}/pause$", batch_pause, name="batch-pause"),
    re_path(rf"{BATCH}/resume$", batch_resume, name="batch-resume"),
    re_path(rf"{BATCH}/retry$", batch_retry, name="batch-retry"),
    re_path(rf"{BATCH}/delete$", batch_delete, name="batch-delete"),
    re_path(rf"{BATCH}/files/(?P<kind>input|output|error)$", batch_file, name="batch-file"),
    re_path(rf"{BATCH}/object$", batch_raw, name="batch-object"),
    re_path(rf"{LINE}$", line_page, name="line"),
    re_path(rf"{LINE}/live$", line_page_live, name="line-live"),
    re_path(rf"{LINE}/raw/(?P<part>request|response)$", line_raw, name="line-raw"),
    re_path(
        rf"{LINE}/(?P<part>prompt|answer|error)$",
        line_text,
        name="line-text",
    ),
]
