"""What each route takes and answers, errors included, in the words of OpenAPI."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from jobs.api import shapes
from jobs.models import Purpose
from jobs.services.batches import completion_windows, endpoints

_NO_NUL = r"^[^\x00]+$"
_WEB_ADDRESS = r"^https?://[A-Za-z0-9.-]+(:[1-5]?[0-9]{1,4})?(/[!-~]*)?$"
_REFUSALS = {
    400: "Something that was sent is malformed or missing; `param` names it.",
    401: "The API key is missing, unknown, revoked or expired.",
    404: "Nothing of this project has this id.",
    406: "Only JSON is answered, and the client takes none.",
    409: "The state of things does not allow it; sending it again changes nothing.",
    411: "A JSON body needs a Content-Length.",
    413: "More bytes than the operator allows.",
    415: "The body is of another media type.",
    429: (
        "The key's requests are used up for now: `retry-after` says until when. A create is also "
        "refused where the project has too many live batches."
    ),
    503: "The database cannot be reached just now; try again.",
}


class BearerKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Names the API key in the description."""

    target_class = "jobs.api.authentication.BearerKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, made by `manage.py createapikey NAME`.",
        }


def only_v1(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Describe what stands under /v1, without the answer to unknown addresses; another hook."""
    return [one for one in endpoints if one[0].startswith("/v1/") and one[0][4:5] != "{"]


def describe_what_is_taken(
    result: dict[str, Any], generator: Any, request: Any, public: bool
) -> dict[str, Any]:
    """Say what of a client is taken, as this server is set up; a hook of drf-spectacular."""
    shapes_ = result["components"]["schemas"]
    for name in (
        "BatchOrder",
        "CompleteOrder",
        "ExpiresAfter",
        "FileForm",
        "PartForm",
        "RetryOrder",
        "UploadOrder",
    ):
        shapes_[name]["additionalProperties"] = False
    fields = shapes_["BatchOrder"]["properties"]
    fields["endpoint"]["enum"] = list(endpoints())
    fields["completion_window"]["enum"] = list(completion_windows())
    fields["webhook_url"]["pattern"] = _WEB_ADDRESS
    for name in ("input_file_id", "idempotency_key"):
        fields[name]["pattern"] = _NO_NUL
    shapes_["RetryOrder"]["properties"]["idempotency_key"]["pattern"] = _NO_NUL
    return result


def _answers(good: Any, *refusals: int, what: str = "") -> dict[int, Any]:
    return {
        200: OpenApiResponse(good, description=what),
        **{
            status: OpenApiResponse(shapes.ErrorBody, description=_REFUSALS[status])
            for status in sorted({401, 406, 429, 503, *refusals})
        },
    }


def _path(name: str, what: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.PATH, description=what)


def _limit(default: int, high: int) -> OpenApiParameter:
    return OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": high, "default": default},
        description="How many items at most.",
    )


_AFTER = OpenApiParameter(
    "after",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    description="The id of the last item of the page before.",
)
_FILE_ID = _path("file_id", "The id of a file, `file-…`.")
_UPLOAD_ID = _path("upload_id", "The id of an upload, `upload_…`.")
_BATCH_ID = _path("batch_id", "The id of a batch, `batch_…`.")
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description="Two requests with one key make one batch.",
)

CREATE_FILE: dict[str, Any] = {
    "operation_id": "createFile",
    "tags": ["Files"],
    "summary": "Upload a file",
    "description": (
        "The file is streamed to disk. One for a batch is named `*.jsonl` and expires after 30 "
        "days unless told otherwise."
    ),
    "request": {"multipart/form-data": shapes.FileForm},
    "responses": _answers(shapes.File, 400, 413, 415),
}
LIST_FILES: dict[str, Any] = {
    "operation_id": "listFiles",
    "tags": ["Files"],
    "summary": "List files, newest first",
    "description": "Results of batches are listed too, with purpose `batch_output`.",
    "parameters": [
        _limit(10_000, 10_000),
        _AFTER,
        OpenApiParameter("order", str, enum=["asc", "desc"], description="By time of making."),
        OpenApiParameter("purpose", str, enum=Purpose.values),
    ],
    "responses": _answers(shapes.FileList, 400, 404),
}
GET_FILE: dict[str, Any] = {
    "operation_id": "retrieveFile",
    "tags": ["Files"],
    "summary": "Look at a file",
    "description": "What is known of a file of this project.",
    "parameters": [_FILE_ID],
    "responses": _answers(shapes.File, 404),
}
DELETE_FILE: dict[str, Any] = {
    "operation_id": "deleteFile",
    "tags": ["Files"],
    "summary": "Delete a file",
    "description": "It is gone at once; a batch that was made from it is not disturbed.",
    "parameters": [_FILE_ID],
    "responses": _answers(shapes.DeletedFile, 404),
}
GET_FILE_CONTENT: dict[str, Any] = {
    "operation_id": "downloadFile",
    "tags": ["Files"],
    "summary": "Read a file",
    "description": (
        "A result file can be read from its first line on. While its batch runs, the lines come "
        "in the order in which they were finished, and the header `x-vbatch-next-after` holds "
        "the cursor with which to ask for those that came since. Once the batch has ended, they "
        "are complete and in the order of the input."
    ),
    "parameters": [
        _FILE_ID,
        OpenApiParameter(
            "after",
            {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
            description="Only the lines finished after this cursor (result files).",
        ),
        OpenApiParameter(
            "x-vbatch-batch-status",
            str,
            OpenApiParameter.HEADER,
            description="The status of the batch, for a result file.",
            response=[200],
        ),
        OpenApiParameter(
            "x-vbatch-next-after",
            int,
            OpenApiParameter.HEADER,
            description="The cursor to go on from, while more lines may come.",
            response=[200],
        ),
    ],
    "responses": {
        **_answers(shapes.File, 400, 404),
        (200, "application/octet-stream"): OpenApiTypes.BINARY,
    },
}
del GET_FILE_CONTENT["responses"][200]
CREATE_UPLOAD: dict[str, Any] = {
    "operation_id": "createUpload",
    "tags": ["Uploads"],
    "summary": "Begin an upload in parts",
    "description": "Announces a file, whose parts then come one by one or several at once.",
    "request": {"application/json": shapes.UploadOrder},
    "responses": _answers(shapes.Upload, 400, 411, 413, 415),
}
GET_UPLOAD: dict[str, Any] = {
    "operation_id": "retrieveUpload",
    "tags": ["Uploads"],
    "summary": "Look at an upload and the parts that have arrived",
    "description": (
        "A client that was interrupted tells by the SHA-256 of each part what to send again. "
        "An upload can be looked at for a day after it has expired."
    ),
    "parameters": [_UPLOAD_ID],
    "responses": _answers(shapes.Upload, 404),
}
CREATE_PART: dict[str, Any] = {
    "operation_id": "addUploadPart",
    "tags": ["Uploads"],
    "summary": "Add a part to an upload",
    "description": (
        "It is streamed to disk. Bytes that the upload has already, as one part, give that part "
        "again: sending twice does no harm."
    ),
    "parameters": [_UPLOAD_ID],
    "request": {"multipart/form-data": shapes.PartForm},
    "responses": _answers(shapes.UploadPart, 400, 404, 409, 413, 415),
}
COMPLETE_UPLOAD: dict[str, Any] = {
    "operation_id": "completeUpload",
    "tags": ["Uploads"],
    "summary": "Make the file out of its parts",
    "description": (
        "The parts become the file in the order that is given; one that is not named is removed. "
        "Completing again with the same parts answers the same file."
    ),
    "parameters": [_UPLOAD_ID],
    "request": {"application/json": shapes.CompleteOrder},
    "responses": _answers(shapes.Upload, 400, 404, 409, 411, 413, 415),
}
CANCEL_UPLOAD: dict[str, Any] = {
    "operation_id": "cancelUpload",
    "tags": ["Uploads"],
    "summary": "Cancel an upload",
    "description": "Its parts are removed; cancelling twice changes nothing.",
    "parameters": [_UPLOAD_ID],
    "request": None,
    "responses": _answers(shapes.Upload, 404, 409),
}
CREATE_BATCH: dict[str, Any] = {
    "operation_id": "createBatch",
    "tags": ["Batches"],
    "summary": "Create a batch",
    "description": (
        "Answers at once; the input is checked afterwards, and a batch whose input has findings "
        "ends as `failed`. Parameters that are not listed are refused."
    ),
    "parameters": [_IDEMPOTENCY_KEY],
    "request": {"application/json": shapes.BatchOrder},
    "responses": _answers(shapes.Batch, 400, 409, 411, 413, 415),
}
LIST_BATCHES: dict[str, Any] = {
    "operation_id": "listBatches",
    "tags": ["Batches"],
    "summary": "List batches, newest first",
    "description": "Items made while one pages stand before the first page and move nothing.",
    "parameters": [_limit(20, 100), _AFTER],
    "responses": _answers(shapes.BatchList, 400, 404),
}
GET_BATCH: dict[str, Any] = {
    "operation_id": "retrieveBatch",
    "tags": ["Batches"],
    "summary": "Look at a batch",
    "description": "`waiting_for` says in words why a batch is not moving, if it is not.",
    "parameters": [_BATCH_ID],
    "responses": _answers(shapes.Batch, 404),
}
CANCEL_BATCH: dict[str, Any] = {
    "operation_id": "cancelBatch",
    "tags": ["Batches"],
    "summary": "Cancel a batch",
    "description": "What is finished is kept; cancelling twice changes nothing.",
    "parameters": [_BATCH_ID],
    "request": None,
    "responses": _answers(shapes.Batch, 404, 409),
}
PAUSE_BATCH: dict[str, Any] = {
    "operation_id": "pauseBatch",
    "tags": ["Batches"],
    "summary": "Pause a batch",
    "description": (
        "Its status stays, and its time runs on. Within about a second no line of it is at work; "
        "what was in flight is computed again when it goes on. Pausing twice changes nothing."
    ),
    "parameters": [_BATCH_ID],
    "request": None,
    "responses": _answers(shapes.Batch, 404, 409),
}
RESUME_BATCH: dict[str, Any] = {
    "operation_id": "resumeBatch",
    "tags": ["Batches"],
    "summary": "Let a paused batch go on",
    "description": "Resuming a batch that is not paused changes nothing.",
    "parameters": [_BATCH_ID],
    "request": None,
    "responses": _answers(shapes.Batch, 404, 409),
}
RETRY_BATCH: dict[str, Any] = {
    "operation_id": "retryBatch",
    "tags": ["Batches"],
    "summary": "Retry the lines that were not answered",
    "description": (
        "Makes a new batch of the lines of an ended one that failed, expired or were cancelled, "
        "and answers with it. It starts at once, from the lines as they were accepted: the input "
        "file may be gone. It has the same endpoint, model, window and webhook, and `metadata` "
        "and `priority` unless others are sent; its time counts from now."
    ),
    "parameters": [_BATCH_ID, _IDEMPOTENCY_KEY],
    "request": {"application/json": shapes.RetryOrder},
    "responses": _answers(shapes.Batch, 400, 404, 409, 411, 413, 415),
}
DELETE_BATCH: dict[str, Any] = {
    "operation_id": "deleteBatch",
    "tags": ["Batches"],
    "summary": "Delete a batch",
    "description": (
        "The batch, its answers and its result files are gone at once; the input file stays. One "
        "that has not ended must be cancelled first."
    ),
    "parameters": [_BATCH_ID],
    "responses": _answers(shapes.DeletedBatch, 404, 409),
}
LIST_MODELS: dict[str, Any] = {
    "operation_id": "listModels",
    "tags": ["Models"],
    "summary": "List the models that a batch may name",
    "description": "These names may stand in `body.model` of a line.",
    "responses": _answers(shapes.ModelList),
}
GET_MODEL: dict[str, Any] = {
    "operation_id": "retrieveModel",
    "tags": ["Models"],
    "summary": "Look at a model",
    "description": "A model that a batch may name.",
    "parameters": [_path("model_id", "The name of a model, which may hold slashes.")],
    "responses": _answers(shapes.Model, 404),
}
