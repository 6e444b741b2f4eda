"""Our figures under the names that `vllm bench serve` gives them, and flat, as a table has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LATENCIES = {"ttft": "ttft_ms", "tpot": "tpot_ms", "itl": "itl_ms", "e2el": "e2el_ms"}
_OF_A_LATENCY = ("mean", "median", "p90", "p99")

# A path in `Run.figures` and vLLM's name, which is ours too where vLLM has none.
FIELD_NAMES: dict[str, str] = {
    "requests": "num_prompts",
    "completed": "completed",
    "failed": "failed",
    "reused": "reused",
    "success_rate": "success_rate",
    "duration_s": "duration",
    "input_tokens": "total_input_tokens",
    "cached_tokens": "total_cached_tokens",
    "output_tokens": "total_output_tokens",
    "requests_per_s": "request_throughput",
    "input_tokens_per_s": "input_throughput",
    "output_tokens_per_s": "output_throughput",
    "total_tokens_per_s": "total_token_throughput",
    "steady.requests_per_s": "steady_request_throughput",
    "steady.output_tokens_per_s": "steady_output_throughput",
    "steady.total_tokens_per_s": "steady_total_token_throughput",
    "gpus": "gpus",
    "requests_per_s_per_gpu": "request_throughput_per_gpu",
    "output_tokens_per_s_per_gpu": "output_throughput_per_gpu",
    "total_tokens_per_s_per_gpu": "total_token_throughput_per_gpu",
    **{
        f"latency_ms.{ours}.{which}": f"{which}_{theirs}"
        for ours, theirs in _LATENCIES.items()
        for which in _OF_A_LATENCY
    },
    "prefix_cache_hit_rate": "prefix_cache_hit_rate",
    "engine_start_s": "engine_start",
    "gpu_seconds": "gpu_seconds",
    "energy_j": "energy_joules",
    "energy_valid": "energy_valid",
    "joules_per_output_token": "joules_per_output_token",
    "joules_per_token": "joules_per_token",
    "cost": "cost",
    "cost_per_million_output_tokens": "cost_per_million_output_tokens",
    "cost_per_million_tokens": "cost_per_million_tokens",
    "phases.validation_s": "phase_validation",
    "phases.waiting_s": "phase_waiting",
    "phases.load_s": "phase_load",
    "phases.work_s": "phase_work",
    "phases.warm_up_s": "phase_warm_up",
    "phases.steady_s": "phase_steady",
    "phases.tail_s": "phase_tail",
}


def flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure under its flat name; None is not measured."""
    return {name: _at(figures, path) for path, name in FIELD_NAMES.items()}


def nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures under our own names from those that have vLLM's; others are left out."""
    found: dict[str, Any] = {}
    for path, name in FIELD_NAMES.items():
        value = named.get(name)
        if isinstance(value, int | float):
            *folders, last = path.split(".")
            place = found
            for folder in folders:
                place = place.setdefault(folder, {})
            place[last] = value
    return found


def _at(figures: Mapping[str, Any], path: str) -> Any:
    value: Any = figures
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
