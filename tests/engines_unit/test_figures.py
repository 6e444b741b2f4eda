"""Reading what vLLM says of itself."""

from __future__ import annotations

import asyncio

import pytest

from jobs.engines.figures import NoFigures, read_exposition, scrape

# As vLLM 0.32 writes it, with two engine cores.
TEXT = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 100.0
vllm:generation_tokens_total{engine="1",model_name="m"} 50.0
# HELP vllm:generation_tokens_created Number of generation tokens processed.
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e+09
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 5.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="m"} 1.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 2.0
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="m"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 2.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 2.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 0.75
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1",model_name="m"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="m"} 4.0
vllm:time_to_first_token_seconds_count{engine="1",model_name="m"} 4.0
vllm:time_to_first_token_seconds_sum{engine="1",model_name="m"} 0.25
# HELP vllm:something_new Not known here.
# TYPE vllm:something_new gauge
vllm:something_new 1.0
"""


def test_several_engine_cores_are_one_engine():
    figures = read_exposition(TEXT)
    assert figures.gauges == {
        "requests_running": 7.0,
        "requests_waiting": 1.0,
        "kv_cache_percent": 50.0,
    }
    assert figures.counters == {
        "generation_tokens": 150.0,
        "requests_stop": 6.0,
        "requests_length": 2.0,
    }
    assert figures.histograms["ttft_s"].as_json() == {
        "buckets": [[0.1, 5.0], [None, 6.0]],
        "sum": 1.0,
        "count": 6.0,
    }


def test_what_is_no_exposition_is_told():
    with pytest.raises(NoFigures, match="cannot be read"):
        read_exposition("<html>\n{nonsense")


def test_an_engine_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NoFigures, match="cannot be asked"):
        asyncio.run(scrape(str(tmp_path / "none.sock"), timeout_s=1.0))


def test_an_engine_that_never_answers_is_left(tmp_path):
    path = str(tmp_path / "api.sock")

    async def ask() -> None:
        server = await asyncio.start_unix_server(lambda r, w: asyncio.sleep(5), path)
        async with server:
            await scrape(path, timeout_s=0.2)

    with pytest.raises(NoFigures, match=r"within 0\.2 s"):
        asyncio.run(ask())
