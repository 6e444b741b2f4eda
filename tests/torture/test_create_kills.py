"""The web server is killed around the transaction that makes a batch; the client repeats."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stack import Stack, chat_lines, check_finished
from tests.torture.care import kill_all
from tests.torture.points import Point

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before", marks=pytest.mark.torture),
        pytest.param("inside", marks=pytest.mark.torture),
        "after",
    ],
)
def test_create_whose_answer_was_lost_makes_one_batch(torn: Stack, moment: str) -> None:
    """The official client with its own repeats; `after` is a COMMIT that went through."""
    lines = list(chat_lines(5, prefix=f"create-{moment}"))
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    stored = torn.client.files.create(file=("lines.jsonl", data), purpose="batch")
    point = {
        "before": Point(torn, "jobs_batch", "BEFORE INSERT"),
        "inside": Point(torn, "django_q_ormq", "AFTER INSERT", when="NEW.key = 'control'"),
        "after": Point(torn, "jobs_batch", "AFTER INSERT", at_commit=True),
    }[moment]
    with ThreadPoolExecutor(1) as pool, point:
        create = pool.submit(
            torn.client.batches.create,
            input_file_id=stored.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        point.wait_reached()
        kill_all(torn.find("web-worker"))
        point.let_go()
        batch = create.result(60).id
    made = torn.sql("SELECT public_id FROM jobs_batch WHERE input_file_public_id = %s", stored.id)
    assert made == [(batch,)]
    torn.wait_ended(batch)
    check_finished(torn, batch, lines)
