"""The whole schema is fuzzed: no 500, and no answer that the schema does not describe."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from tests.api.conftest import line
from vbatch_site.wsgi import application

EXAMPLES = 40
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    use_after_free,
]


@pytest.fixture
def described(api, lane) -> Any:
    """The schema, with ids of things that exist in every second path."""
    batches = [api.make(lines)["id"] for lines in (_lines("a"), _lines("b"), _lines("c"))]
    lane.answer("a-0", "a-1", failing=["a-1"])
    api.post(f"/v1/batches/{batches[1]}/cancel")
    lane.answer("c-0")
    known = {
        "batch_id": batches,
        "file_id": [one["id"] for one in api.get("/v1/files").json()["data"]],
        "model_id": [one["id"] for one in api.get("/v1/models").json()["data"]],
    }
    schema = schemathesis.openapi.from_wsgi("/schema", application)
    drawn = random.Random(7)

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: Any) -> Any:
        if path_parameters and drawn.random() < 0.5:
            for name in path_parameters:
                path_parameters[name] = drawn.choice(known.get(name, [path_parameters[name]]))
        return path_parameters

    @schema.hook
    def map_headers(context: Any, headers: Any) -> Any:
        # Most requests are let in; some come with no key, or another one.
        if drawn.random() < 0.9:
            return {**(headers or {}), **api.member.headers()}
        return headers

    return schema


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_every_answer_is_one_that_the_schema_describes(described) -> None:
    statuses: Counter[int] = Counter()
    for found in described.get_all_operations():

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=found.ok().as_strategy())
        def ask(case: Any) -> None:
            response = case.call()
            statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        ask()
    # It came to what exists, and past the checks of form.
    assert {200, 400, 401, 404, 409} <= set(statuses), statuses
    assert statuses[200] > 50, statuses


def _lines(prefix: str) -> bytes:
    return b"".join(line(f"{prefix}-{number}") + b"\n" for number in range(3))
