"""How an answer was made: what is known of its model, engine and machine, and nothing guessed."""

from __future__ import annotations

import shlex
from itertools import zip_longest
from typing import Any

import msgspec

from jobs.lenient_json import decode_leniently
from jobs.models import BatchResponse, Gpu, Lane, ServedModel

# Keys of a request's body that are what was asked; the others say how it was to be answered.
_ASKED = {"messages", "prompt", "input", "instructions", "tools", "model", "stream"}
# A schema to answer by may be long; a body of megabytes is not to be kept twice.
_SAMPLING_MAX = 16_384


def describe_origin(*, response: BatchResponse, request_body: bytes) -> dict[str, Any]:
    """Return what is known of how a response was made; what is not known is not there.

    The engine's version and the GPUs are those of the lane, and told only where the lane's
    engine was already up with this model when the answer came: a later engine did not make it.
    """
    batch = response.batch
    found: dict[str, Any] = {"sampling": sampling_of(request_body)}
    if batch.imported_at is not None:
        return {**found, "imported": True}
    if batch.model is not None:
        found |= _model(batch.model)
    lane = response.lane
    if lane is not None:
        found["worker"] = lane.worker.name
        if batch.model is not None and _made_it(lane, batch.model, response):
            found |= _machine(lane)
    return {key: value for key, value in found.items() if value not in ("", [], {}, None)}


def sampling_of(body: bytes) -> dict[str, Any]:
    """Return the parameters of a request: temperature, max_tokens, seed, response_format, ..."""
    try:
        parsed = decode_leniently(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(parsed, dict):
        return {}
    found = {key: value for key, value in parsed.items() if key not in _ASKED}
    try:
        return found if len(msgspec.json.encode(found)) <= _SAMPLING_MAX else {}
    except (ValueError, RecursionError):
        return {}


def revision_of(engine_args: str) -> str:
    """Return the `--revision` of an engine's arguments, empty if there is none."""
    try:
        words = shlex.split(engine_args)
    except ValueError:
        return ""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == "--revision":
            return following
        if word.startswith("--revision="):
            return word.partition("=")[2]
    return ""


def _model(model: ServedModel) -> dict[str, Any]:
    if model.is_upstream:
        return {"upstream_url": model.upstream_url, "upstream_model": model.upstream_model}
    return {
        "model_source": model.source,
        "model_revision": revision_of(model.engine_args),
        "engine_args": model.engine_args,
    }


def _made_it(lane: Lane, model: ServedModel, response: BatchResponse) -> bool:
    started = lane.engine_started_at
    return (
        lane.engine_model_id == model.pk and started is not None and started <= response.created_at
    )


def _machine(lane: Lane) -> dict[str, Any]:
    gpus = Gpu.objects.filter(worker=lane.worker, index__in=lane.gpus).order_by("index")
    return {
        "engine_version": lane.engine_version,
        "gpus": list(gpus.values_list("name", flat=True)),
    }
