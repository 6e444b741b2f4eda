"""Reading what a client asks for when it creates a batch."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from jobs.addresses import AllowList, why_not
from jobs.api.errors import ApiError
from jobs.api.parameters import Parameters, echo
from jobs.services.batches import (
    METADATA_KEY_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_MAX,
    WEBHOOK_URL_MAX,
    BatchOrder,
    completion_windows,
    endpoints,
)
from jobs.services.retrying import RetryOrder
from jobs.states import RequestOrder

FIELDS = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
    "priority",
    "webhook_url",
    "idempotency_key",
    "request_order",
    "reuse_answers",
)
RETRY_FIELDS = ("metadata", "priority", "idempotency_key")
FILE_ID_MAX = 64
KEY_MAX = 255
EXPIRES_MIN_S = 3_600
EXPIRES_MAX_S = 2_592_000


def read_order(body: Parameters) -> BatchOrder:
    """Return the checked order; raises ApiError for the first thing that is wrong with it.

    `priority` and `webhook_url` may also stand in the metadata, for clients that have no other
    place for them. There, a value that cannot be meant for us is the client's own affair.
    """
    body.refuse_unknown(FIELDS)
    file_id: Any = body.text("input_file_id", max_length=FILE_ID_MAX, required=True)
    endpoint: Any = body.choice("endpoint", endpoints(), required=True)
    window: Any = body.choice("completion_window", tuple(completion_windows()), required=True)
    metadata = _metadata(body)
    url = body.text("webhook_url", max_length=WEBHOOK_URL_MAX)
    allowed = AllowList.read(settings.WEBHOOK_ALLOW)
    in_metadata = metadata or {}
    if url is None and in_metadata.get("webhook_url", "").startswith(("http://", "https://")):
        url = in_metadata["webhook_url"]
    if url is not None and (reason := why_not(url, allowed)) is not None:
        raise body.invalid("webhook_url", reason)
    return BatchOrder(
        endpoint=endpoint,
        completion_window=window,
        input_file_id=file_id,
        metadata=metadata,
        priority=_priority(body, metadata) or 0,
        webhook_url=url or "",
        output_expires_after_s=read_lifetime(body, "output_expires_after"),
        request_order=body.choice("request_order", RequestOrder.values) or RequestOrder.AUTO,
        reuse_answers=body.boolean("reuse_answers"),
    )


def read_retry(body: Parameters) -> RetryOrder:
    """Return what is to be other in a retry than in the batch; raises ApiError."""
    body.refuse_unknown(RETRY_FIELDS)
    metadata = _metadata(body)
    return RetryOrder(metadata=metadata, priority=_priority(body, metadata))


def idempotency_key(request: Request, body: Parameters) -> str | None:
    """Return the key that makes two creates one: a header or a field of the body."""
    header = request.META.get("HTTP_IDEMPOTENCY_KEY")
    headers = Parameters({"Idempotency-Key": header})
    from_header = headers.text("Idempotency-Key", max_length=KEY_MAX)
    from_body = body.text("idempotency_key", max_length=KEY_MAX)
    if from_header and from_body and from_header != from_body:
        raise body.invalid("idempotency_key", "it differs from the header Idempotency-Key")
    return from_header or from_body


def is_repeat(request: Request) -> bool:
    """Tell whether the openai client sends this request again, its answer having been lost."""
    count = request.META.get("HTTP_X_STAINLESS_RETRY_COUNT", "0")
    return bool(re.fullmatch("[0-9]{1,6}", count)) and int(count) >= 1


def _priority(body: Parameters, metadata: dict[str, str] | None) -> int | None:
    priority = body.integer("priority", low=-1, high=1)
    if priority is None and (metadata or {}).get("priority") in ("-1", "0", "1"):
        priority = int((metadata or {})["priority"])
    return priority


def _metadata(body: Parameters) -> dict[str, str] | None:
    found = body.record("metadata")
    if found is None:
        return None
    if len(found.values) > METADATA_PAIRS_MAX:
        raise ApiError(
            f"Invalid 'metadata': too many properties. Expected an object with at most "
            f"{METADATA_PAIRS_MAX} properties, but got {len(found.values)} instead.",
            code="object_above_max_properties",
            param="metadata",
        )
    for key, value in found.values.items():
        if len(key) > METADATA_KEY_MAX or "\0" in key:
            raise ApiError(
                f"Invalid 'metadata': the key '{echo(key)}' is longer than {METADATA_KEY_MAX} "
                "characters or holds a NUL.",
                code="invalid_value",
                param="metadata",
            )
        if not isinstance(value, str):
            raise found.wrong_type(key, "a string", value)
        found.checked(key, value, max_length=METADATA_VALUE_MAX)
    return dict(found.values)


def read_lifetime(body: Parameters, name: str) -> int | None:
    """Return the seconds after which a file is to expire; None if it was not asked for."""
    found = body.record(name)
    if found is None:
        return None
    found.refuse_unknown(("anchor", "seconds"))
    found.choice("anchor", ("created_at",), required=True)
    return found.integer("seconds", low=EXPIRES_MIN_S, high=EXPIRES_MAX_S, required=True)
