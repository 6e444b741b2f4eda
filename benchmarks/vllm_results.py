"""Result files of `vllm bench serve` and `vllm bench throughput`, read.

The names of fields are those of vLLM 0.32, in vllm/benchmarks/serve.py and throughput.py; files of
older versions lack some of them, and that is no error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.prompts import is_storable

SERVE, THROUGHPUT = "vllm bench serve", "vllm bench throughput"
# Beyond this a figure is no measurement.
FIGURE_MAX = 1e15

# What must be there, and what may; in seconds and per second, latencies in milliseconds.
_NEEDED = ("num_prompts", "duration", "request_throughput")
_FIGURES = (
    *_NEEDED,
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
    "max_concurrency",
    "burstiness",
    "total_input_sequences",
    "input_sequence_throughput",
)
_LATENCY = re.compile(r"(mean|median|std|p[0-9]{1,3}(\.[0-9]{1,6})?)_(ttft|tpot|itl|e2el)_ms")
# `vllm bench throughput` has names of its own for what `serve` measures too.
_OF_THROUGHPUT = {
    "num_requests": "num_prompts",
    "elapsed_time": "duration",
    "requests_per_second": "request_throughput",
    "tokens_per_second": "total_token_throughput",
}


class UnreadableResults(ValueError):
    """The file is not one of those results; the message says what it is, or what it lacks."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """One result file; `model` is empty where the file does not name it.

    `figures` are its numbers under the names that `vllm bench serve` gives them, whichever tool
    wrote the file. `raw` is the file itself, less what no database keeps: numbers that are none,
    and texts with a NUL or half of a character pair.
    """

    tool: str
    model: str
    num_requests: int
    figures: dict[str, float]
    raw: dict[str, Any]


def read_results(content: bytes) -> Imported:
    """Read a result file; raises UnreadableResults."""
    try:
        found = _kept(_object(content))
    except RecursionError as error:
        raise UnreadableResults("The file is nested too deep.") from error
    if "elapsed_time" in found and "requests_per_second" in found:
        tool, named = THROUGHPUT, {new: found.get(old) for old, new in _OF_THROUGHPUT.items()}
    elif "request_throughput" in found and "duration" in found:
        tool, named = SERVE, found
    else:
        raise UnreadableResults(_what_else(found))
    figures = _figures(named)
    missing = [name for name in _NEEDED if name not in figures]
    if missing:
        names = {new: old for old, new in _OF_THROUGHPUT.items()} if tool == THROUGHPUT else {}
        name = names.get(missing[0], missing[0])
        raise UnreadableResults(f"This result of `{tool}` has no number '{name}'.")
    if not figures["duration"] or figures["num_prompts"] % 1 or not figures["num_prompts"]:
        raise UnreadableResults(f"This result of `{tool}` is of no request, or took no time.")
    model = found.get("model_id")
    return Imported(
        tool=tool,
        model=model if isinstance(model, str) else "",
        num_requests=int(figures["num_prompts"]),
        figures=figures,
        raw=found,
    )


def _object(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise UnreadableResults("The file is empty.")
    try:
        text = content.decode()
        # Tools write NaN for a mean of nothing.
        found = json.loads(text, parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise UnreadableResults("The file is not text in UTF-8.") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise UnreadableResults(
                "The file holds more than one result, as `--append-result` writes them: import "
                "each as a file of its own."
            ) from error
        raise UnreadableResults(
            f"The file is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except ValueError as error:
        raise UnreadableResults("The file holds a number with thousands of digits.") from error
    if isinstance(found, dict):
        return found
    if isinstance(found, list) and any(
        isinstance(one, dict) and "benchmark" in one for one in found
    ):
        raise UnreadableResults(
            "This is the file for PyTorch's own dashboard, which vLLM writes beside the result: "
            "import that one."
        )
    raise UnreadableResults("The file holds no JSON object.")


def _what_else(found: Mapping[str, Any]) -> str:
    if "avg_latency" in found:
        return (
            "This is a result of `vllm bench latency`, which times one batch over and over and "
            "has no figure to compare; `serve` and `throughput` are read."
        )
    return (
        "This is no result of `vllm bench serve` or `vllm bench throughput`: it has neither "
        "'request_throughput' and 'duration' nor 'requests_per_second' and 'elapsed_time'."
    )


def _figures(named: Mapping[str, Any]) -> dict[str, float]:
    figures = {}
    for name, value in named.items():
        if name not in _FIGURES and not _LATENCY.fullmatch(name):
            continue
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnreadableResults(f"'{name}' is no number.")
        if not 0 <= value <= FIGURE_MAX:
            raise UnreadableResults(f"'{name}' is below 0, or beyond anything that is measured.")
        figures[name] = value
    return figures


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _kept(one)
            for name, one in value.items()
            if is_storable(name) and not (isinstance(one, str) and not is_storable(one))
        }
    if isinstance(value, list):
        return [
            None if isinstance(one, str) and not is_storable(one) else _kept(one) for one in value
        ]
    return None if isinstance(value, float) and math.isinf(value) else value
