"""The addresses under /v1; none ends in a slash."""

from __future__ import annotations

from django.urls import path, re_path

from jobs.api import batch_verbs, batches, files, models, uploads_in_parts
from jobs.api.view import BatchOnlyView, UnknownView
from jobs.line_rules import ENDPOINTS

urlpatterns = [
    path("files", files.FilesView.as_view()),
    path("files/<str:file_id>", files.FileView.as_view()),
    path("files/<str:file_id>/content", files.FileContentView.as_view()),
    path("uploads", uploads_in_parts.UploadsView.as_view()),
    path("uploads/<str:upload_id>", uploads_in_parts.UploadView.as_view()),
    path("uploads/<str:upload_id>/parts", uploads_in_parts.PartsView.as_view()),
    path("uploads/<str:upload_id>/complete", uploads_in_parts.CompleteView.as_view()),
    path("uploads/<str:upload_id>/cancel", uploads_in_parts.CancelView.as_view()),
    path("batches", batches.BatchesView.as_view()),
    path("batches/<str:batch_id>", batches.BatchView.as_view()),
    path("batches/<str:batch_id>/cancel", batches.BatchCancelView.as_view()),
    path("batches/<str:batch_id>/pause", batch_verbs.BatchPauseView.as_view()),
    path("batches/<str:batch_id>/resume", batch_verbs.BatchResumeView.as_view()),
    path("batches/<str:batch_id>/retry", batch_verbs.BatchRetryView.as_view()),
    path("models", models.ModelsView.as_view()),
    # Names of models have slashes in them.
    path("models/<path:model_id>", models.ModelView.as_view()),
    *(path(one.removeprefix("/v1/"), BatchOnlyView.as_view()) for one in ENDPOINTS),
    re_path(r"^.*$", UnknownView.as_view()),
]
