"""Result files that `vllm bench` has written are read; all else is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.vllm_results import SERVE, THROUGHPUT, UnreadableResults, read_results

FILES = Path(__file__).parent / "files"
SERVED = {"num_prompts": 8, "duration": 2.0, "request_throughput": 4.0}


def read(**fields):
    return read_results(json.dumps({**SERVED, **fields}).encode())


def test_a_result_of_serve_is_read():
    found = read_results((FILES / "serve.json").read_bytes())
    assert (found.tool, found.model, found.num_requests) == (SERVE, "smollm2-135m-instruct", 8)
    figures = found.figures
    assert figures["completed"] == 8
    assert figures["failed"] == 0
    assert figures["total_output_tokens"] == 128
    assert figures["output_throughput"] * figures["duration"] == pytest.approx(128)
    assert figures["request_throughput"] * figures["duration"] == pytest.approx(8)
    for latency in ("ttft", "tpot", "itl", "e2el"):
        for which in ("mean", "median", "p90", "p99", "std"):
            assert figures[f"{which}_{latency}_ms"] >= 0
        assert figures[f"p50_{latency}_ms"] == figures[f"median_{latency}_ms"]
    # Not told without a goal, and an infinite rate is a word.
    assert "request_goodput" not in figures
    assert "request_rate" not in figures
    assert found.raw == json.loads((FILES / "serve.json").read_text())


def test_a_result_of_throughput_has_the_names_of_serve():
    found = read_results((FILES / "throughput.json").read_bytes())
    raw = json.loads((FILES / "throughput.json").read_text())
    assert (found.tool, found.model, found.num_requests) == (THROUGHPUT, "smollm2-135m-instruct", 8)
    assert found.figures == {
        "num_prompts": 8,
        "duration": raw["elapsed_time"],
        "request_throughput": raw["requests_per_second"],
        "total_token_throughput": raw["tokens_per_second"],
    }
    assert found.raw == raw


def test_details_are_kept_and_are_no_figures():
    found = read_results((FILES / "serve-detailed.json").read_bytes())
    assert len(found.raw["generated_texts"]) == 8
    assert found.raw["gpu"] == "none"
    assert not {"ttfts", "itls", "latencies", "input_lens", "gpu"} & set(found.figures)
    assert "p99_ttft_ms" in found.figures


def test_a_result_over_embeddings_has_no_output():
    found = read_results((FILES / "serve-embeddings.json").read_bytes())
    assert found.model == "all-minilm-l6-v2"
    assert found.figures["total_input_tokens"] == 512
    assert found.figures["input_sequence_throughput"] > 0
    assert "p99_e2el_ms" in found.figures
    assert not {"total_output_tokens", "output_throughput", "mean_ttft_ms"} & set(found.figures)


def test_a_file_of_an_older_version_lacks_what_it_lacks():
    assert read().model == ""
    found = read_results(
        b'{"elapsed_time": 2.0, "num_requests": 8, "requests_per_second": 4.0, '
        b'"total_num_tokens": 20, "tokens_per_second": 10.0}'
    )
    assert (found.model, found.figures["total_token_throughput"]) == ("", 10.0)


def test_numbers_that_are_none_are_left_out():
    found = read(mean_ttft_ms=float("nan"), output_throughput=None)
    assert found.figures == SERVED
    assert found.raw["mean_ttft_ms"] is None


def test_what_no_database_keeps_is_left_out():
    found = read(model_id="a\0b", note="\ud800", **{"k\0": 1}, texts=["a\0", "b"])
    assert (found.model, found.raw) == ("", {**SERVED, "texts": [None, "b"]})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b" \n", "The file is empty"),
        (json.dumps({**SERVED, "output_throughput": "fast"}).encode(), "'output_throughput' is no"),
        (json.dumps({**SERVED, "completed": True}).encode(), "'completed' is no number"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"date,model\n1,2\n", "not JSON"),
        (b'{"duration": 1, "dur', "not JSON"),
        (b'{"a": 1}\n{"a": 2}', "more than one result"),
        (b"3", "no JSON object"),
        (b"[]", "no JSON object"),
        (b'[{"benchmark": {"name": "vLLM benchmark"}}]', "PyTorch"),
        (b'{"avg_latency": 1.5, "latencies": [], "percentiles": {}}', "vllm bench latency"),
        (b'{"object": "batch"}', "no result of `vllm bench serve`"),
        (b'{"a": ' * 100_000, "nested too deep"),
        (b'{"a": ' + b"[" * 700 + b"]" * 700 + b"}", "neither|nested too deep"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "thousands of digits"),
        (b'{"duration": 1, "request_throughput": 1}', "no number 'num_prompts'"),
        (b'{"elapsed_time": "1", "requests_per_second": 1}', "'duration' is no number"),
        (json.dumps({**SERVED, "num_prompts": 0}).encode(), "no request"),
        (json.dumps({**SERVED, "num_prompts": 1.5}).encode(), "no request"),
        (json.dumps({**SERVED, "duration": 0}).encode(), "took no time"),
        (json.dumps({**SERVED, "duration": -1}).encode(), "'duration' is below 0"),
        (json.dumps({**SERVED, "mean_itl_ms": 10**400}).encode(), "beyond anything"),
        (b'{"duration": 1e999, "num_prompts": 1, "request_throughput": 1}', "no number 'duration'"),
    ],
)
def test_what_is_no_result_is_refused_with_a_reason(content, says):
    with pytest.raises(UnreadableResults, match=says):
        read_results(content)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
names = st.sampled_from(
    ["duration", "num_prompts", "request_throughput", "elapsed_time", "model_id", "p99_ttft_ms"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names | st.text(max_size=5), values, max_size=8) | values)
def test_any_json_is_read_or_refused(value):
    try:
        found = read_results(json.dumps(value).encode())
    except UnreadableResults as error:
        assert str(error)
        return
    json.dumps(found.raw, allow_nan=False)
    assert all(0 <= figure <= 1e15 for figure in found.figures.values())
