"""A benchmark on the real engine: its figures are those that vLLM tells of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.conftest import First
from tests.stack import Stack

pytestmark = pytest.mark.engine


def test_a_run_is_measured_by_the_engine_itself(stack: Stack, first: First, tmp_path: Path) -> None:
    told = tmp_path / "run.json"
    args = ("--model", "chat", "--workload", "short-chat", "--requests", "24", "--repeat", "2")
    said = stack.manage("runbenchmark", *args, "--json", str(told), "--price", "2", timeout_s=280)
    assert "Output tokens" in said
    run = json.loads(told.read_text())
    figures = run["figures"]
    assert (figures["completed"], figures["total_output_tokens"]) == (24, 24 * 64)
    assert 0 < figures["median_ttft_ms"] < figures["median_e2el_ms"] <= figures["p99_e2el_ms"]
    for name in ("ttft", "tpot", "itl"):
        assert figures[f"mean_{name}_ms"] > 0 and figures[f"p90_{name}_ms"] > 0
    # The repeats have the same prompts; the second may know no more of them than the first.
    hits = [part["figures"]["prefix_cache_hit_rate"] for part in run["parts"][1:]]
    assert hits[1] <= hits[0] + 0.05
    assert figures["cost_per_million_output_tokens"] > 0
    assert run["fingerprint"]["vllm"] and run["fingerprint"]["revision"]
    assert "--max-model-len 2048" in run["fingerprint"]["engine_args"]
