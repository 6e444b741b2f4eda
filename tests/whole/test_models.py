"""What becomes of an engine whose model is replaced or removed while it is loaded."""

from __future__ import annotations

import pytest

from tests.stack import Stack, chat_lines, check_finished

pytestmark = pytest.mark.stack


def test_a_replaced_model_answers_at_once_and_a_removed_one_frees_its_lane(stack: Stack) -> None:
    lines = list(chat_lines(200))
    # The old engine would need minutes, so that the batch runs yet when its model is replaced.
    stack.write_plan("toy", latency_ms=4000, max_concurrency=8)
    stack.write_plan("other", latency_ms=20, max_concurrency=8)
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] > 0, 30, "the first answer")
    assert "stack/cpu" in stack.manage("listmodels")
    other = str(stack.model_dir("other"))
    (stack.model_dir("other") / "model.safetensors").touch()
    assert f"-> {other}" in stack.manage("addmodel", "toy", "--source", other, "--replace")
    assert stack.wait_ended(batch) == "completed"
    results = check_finished(stack, batch, lines)
    # What the old engine had in hand is answered by the new one, and nobody is suspected.
    assert not results.errors
    assert 0 < stack.door("other").total() < 200
    assert (stack.engine_starts("toy"), stack.engine_starts("other")) == (1, 1)
    assert "is removed" in stack.manage("removemodel", "toy")
    stack.wait(lambda: not stack.find("engine-core"), 20, "the engine to end")
