"""The shapes of bodies, as serializers: they are read by the description and by nothing else."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers as s

from jobs.models import UPLOAD_PURPOSES, Purpose
from jobs.services.uploads import PARTS_MAX
from jobs.states import BatchState, RequestOrder, UploadState


def _time(what: str, *, optional: bool = True) -> s.IntegerField:
    return s.IntegerField(allow_null=optional, help_text=f"{what} (seconds since 1970, UTC).")


class Error(s.Serializer[Any]):
    message = s.CharField()
    type = s.CharField()
    param = s.CharField(allow_null=True)
    code = s.CharField(allow_null=True)


class ErrorBody(s.Serializer[Any]):
    error = Error()


@extend_schema_field({"type": "string", "format": "binary"})
class Binary(s.FileField):
    """The bytes of a file."""


# The names in brackets cannot be written as attributes.
FileForm = type(
    "FileForm",
    (s.Serializer,),
    {
        "__module__": __name__,
        "file": Binary(help_text="For a batch: named *.jsonl, one JSON object a line."),
        "purpose": s.ChoiceField(choices=UPLOAD_PURPOSES),
        "expires_after[anchor]": s.ChoiceField(choices=["created_at"], required=False),
        "expires_after[seconds]": s.IntegerField(
            min_value=3_600, max_value=2_592_000, required=False
        ),
    },
)


class ExpiresAfter(s.Serializer[Any]):
    anchor = s.ChoiceField(choices=["created_at"])
    seconds = s.IntegerField(min_value=3_600, max_value=2_592_000)


class File(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["file"])
    bytes = s.IntegerField(help_text="Its size; of a result file of a running batch, so far.")
    created_at = _time("When it was made", optional=False)
    expires_at = _time("When it goes")
    filename = s.CharField()
    purpose = s.ChoiceField(choices=Purpose.values)
    status = s.ChoiceField(choices=["processed", "error"])
    status_details = s.CharField(allow_null=True)


class UploadOrder(s.Serializer[Any]):
    bytes = s.IntegerField(min_value=1, help_text="The size of the whole file.")
    filename = s.CharField(max_length=255, help_text="For a batch: *.jsonl.")
    mime_type = s.CharField(max_length=255)
    purpose = s.ChoiceField(choices=UPLOAD_PURPOSES)
    expires_after = ExpiresAfter(required=False, allow_null=True)


class PartForm(s.Serializer[Any]):
    data = Binary(help_text="At most 64 MiB of the file.")  # type: ignore[assignment]


class CompleteOrder(s.Serializer[Any]):
    part_ids = s.ListField(
        child=s.CharField(max_length=64),
        min_length=1,
        max_length=PARTS_MAX,
        help_text="In the order of the file.",
    )
    md5 = s.CharField(
        required=False, allow_null=True, help_text="Of the whole file, as 32 hexadecimal digits."
    )


class UploadPart(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["upload.part"])
    created_at = _time("When it had arrived", optional=False)
    upload_id = s.CharField()
    bytes = s.IntegerField()
    sha256 = s.CharField(help_text="Of its bytes, in hexadecimal digits.")


class Upload(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["upload"])
    bytes = s.IntegerField(help_text="The size of the whole file, as it was announced.")
    created_at = _time("When it was made", optional=False)
    expires_at = _time("Until when it has to be completed", optional=False)
    filename = s.CharField()
    purpose = s.ChoiceField(choices=UPLOAD_PURPOSES)
    status = s.ChoiceField(choices=UploadState.values)
    file = File(allow_null=True, help_text="Once it is completed.")
    parts = UploadPart(
        many=True, help_text="What has arrived, in this order, while the status is pending."
    )


class DeletedFile(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["file"])
    deleted = s.BooleanField()


class DeletedBatch(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["batch"])
    deleted = s.BooleanField()


class Finding(s.Serializer[Any]):
    code = s.CharField()
    message = s.CharField()
    param = s.CharField(allow_null=True)
    line = s.IntegerField(allow_null=True, help_text="Line of the input file, from 1.")


class Findings(s.Serializer[Any]):
    object = s.ChoiceField(choices=["list"])
    data = Finding(many=True)  # type: ignore[assignment]


class RequestCounts(s.Serializer[Any]):
    total = s.IntegerField()
    completed = s.IntegerField()
    failed = s.IntegerField()


class CachedTokens(s.Serializer[Any]):
    cached_tokens = s.IntegerField()


class ReasoningTokens(s.Serializer[Any]):
    reasoning_tokens = s.IntegerField()


class Usage(s.Serializer[Any]):
    input_tokens = s.IntegerField()
    input_tokens_details = CachedTokens()
    output_tokens = s.IntegerField()
    output_tokens_details = ReasoningTokens()
    total_tokens = s.IntegerField()


class Savings(s.Serializer[Any]):
    requests = s.IntegerField(help_text="Lines that took the answer to an equal one.")
    input_tokens = s.IntegerField()
    output_tokens = s.IntegerField()


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "maxLength": 512, "pattern": r"^[^\x00]*$"},
        "maxProperties": 16,
        "nullable": True,
    }
)
class Metadata(s.DictField):
    """At most 16 pairs of strings; keys have at most 64 characters."""


def _priority() -> s.IntegerField:
    return s.IntegerField(
        min_value=-1,
        max_value=1,
        required=False,
        allow_null=True,
        help_text="1 goes before 0, and 0 before -1. May also stand in the metadata, as a string.",
    )


def _idempotency_key() -> s.CharField:
    return s.CharField(
        min_length=1,
        max_length=255,
        required=False,
        allow_null=True,
        help_text="For clients that cannot set the header Idempotency-Key.",
    )


class BatchOrder(s.Serializer[Any]):
    input_file_id = s.CharField(min_length=1, max_length=64)
    endpoint = s.CharField(help_text="The url of every line of the file.")
    completion_window = s.CharField(help_text="How long it may take before it expires.")
    metadata = Metadata(required=False)
    output_expires_after = ExpiresAfter(required=False, allow_null=True)
    priority = _priority()
    webhook_url = s.CharField(
        min_length=1,
        max_length=2_000,
        required=False,
        allow_null=True,
        help_text="May also stand in the metadata.",
    )
    request_order = s.ChoiceField(
        choices=RequestOrder.values,
        required=False,
        allow_null=True,
        help_text="auto, unless asked for otherwise: lines that begin alike run one after the "
        "other where that spares work. Results stand in the order of the file either way.",
    )
    reuse_answers = s.BooleanField(
        required=False,
        allow_null=True,
        help_text="Whether lines whose answer is settled by their body (temperature 0, a seed, or "
        "an embedding) may take that of an equal line of the project.",
    )
    idempotency_key = _idempotency_key()


class RetryOrder(s.Serializer[Any]):
    metadata = Metadata(required=False)
    priority = _priority()
    idempotency_key = _idempotency_key()


class Batch(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["batch"])
    endpoint = s.CharField()
    model = s.CharField(allow_null=True, help_text="Known once the input has been checked.")
    errors = Findings(allow_null=True)  # type: ignore[assignment]
    input_file_id = s.CharField()
    completion_window = s.CharField()
    status = s.ChoiceField(choices=BatchState.values)
    output_file_id = s.CharField(allow_null=True)
    error_file_id = s.CharField(allow_null=True)
    created_at = _time("When it was made", optional=False)
    in_progress_at = _time("When its input had been checked")
    expires_at = _time("When it ends, finished or not", optional=False)
    finalizing_at = _time("When its last line was answered")
    completed_at = _time("When it was complete")
    failed_at = _time("When its input was refused")
    expired_at = _time("When it expired")
    cancelling_at = _time("When its end was asked for")
    cancelled_at = _time("When it was cancelled")
    request_counts = RequestCounts()
    usage = Usage()
    savings = Savings(help_text="Of usage, what was not computed again.")
    metadata = Metadata(allow_null=True)
    priority = s.IntegerField(min_value=-1, max_value=1)
    request_order = s.ChoiceField(choices=RequestOrder.values)
    reuse_answers = s.BooleanField()
    waiting_for = s.CharField(allow_null=True, help_text="Why it is not moving, in words.")
    paused_at = _time("Since when it is paused")
    parent_batch_id = s.CharField(
        allow_null=True,
        help_text="The batch whose unanswered lines it took up, or whose lines it runs anew.",
    )
    webhook_url = s.CharField(allow_null=True)


class Model(s.Serializer[Any]):
    id = s.CharField()
    object = s.ChoiceField(choices=["model"])
    created = _time("When it was entered", optional=False)
    owned_by = s.CharField()


class _List(s.Serializer[Any]):
    object = s.ChoiceField(choices=["list"])
    first_id = s.CharField(allow_null=True)
    last_id = s.CharField(allow_null=True)
    has_more = s.BooleanField()


class FileList(_List):
    data = File(many=True)  # type: ignore[assignment]


class BatchList(_List):
    data = Batch(many=True)  # type: ignore[assignment]


class ModelList(_List):
    data = Model(many=True)  # type: ignore[assignment]
