"""`/api/discover`: who answered the same prompts."""

from __future__ import annotations

import pytest

from curation.services.search_index import index_responses
from tests.api.conftest import line

pytestmark = pytest.mark.django_db


def make(api, lane, *names: str) -> str:
    made = api.make(b"\n".join(line(name) for name in names) + b"\n")
    lane.answer()
    index_responses()
    return made["id"]


def test_batches_with_the_same_prompts_are_found(api, strange_api, lane):
    first = make(api, lane, "a", "b", "c")
    second = make(api, lane, "b", "c", "d")
    make(api, lane, "x", "y")
    make(strange_api, lane, "a", "b", "c")
    found = api.get("/api/discover", {"batch_id": first}).json()
    assert [(one["batch_id"], one["shared_prompts"]) for one in found["data"]] == [(second, 2)]
    assert found["prompts_looked_at"] == 3
    assert found["models"] == [{"model": "small", "batches": 1, "shared_prompts": 2}]
    every = api.get("/api/discover").json()
    assert {one["batch_id"] for one in every["data"]} == {first, second}
    assert every["prompts_looked_at"] == 2


def test_a_foreign_batch_is_not_there(api, strange_api, lane):
    first = make(api, lane, "a")
    assert strange_api.get("/api/discover", {"batch_id": first}).status_code == 404
    assert strange_api.get("/api/discover").json()["data"] == []
    assert api.get("/api/discover", {"batch": first}).status_code == 400
