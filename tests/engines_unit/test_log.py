"""What an engine's log tells: the lines below are vLLM 0.32.0's own, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.engines.log import KEEP, failure_reason, phase, rotate, tail

START = [
    ("(APIServer pid=1) INFO 11-24 11:06:56 [api_utils.py:286] non-default args: {}", "starting"),
    (
        "(APIServer pid=1) INFO 11-24 11:06:56 [model.py:733] Resolved architecture: "
        "LlamaForCausalLM",
        "reading the model's configuration",
    ),
    (
        "(APIServer pid=1) WARNING 11-24 11:06:56 [vllm.py:1703] Enforce eager set, disabling "
        "torch.compile, CUDAGraphs, and JIT kernel warmup.",
        "reading the model's configuration",
    ),
    (
        "(EngineCore pid=2) INFO 11-24 11:07:03 [core.py:133] Initializing a V1 LLM engine "
        "(v0.32.0) with config: model='/models/chat'",
        "starting its core",
    ),
    (
        "(Worker pid=3) INFO 11-24 11:07:08 [cpu_model_runner.py:68] Starting to load model "
        "/models/chat...",
        "loading weights",
    ),
    (
        "Loading safetensors checkpoint shards:  43% Completed | 3/7 [00:02<00:03,  1.19it/s]",
        "loading weights, 43 %",
    ),
    (
        "(Worker pid=3) INFO 11-24 11:07:09 [default_loader.py:501] Loading weights took 0.31 "
        "seconds",
        "weights loaded",
    ),
    (
        "(EngineCore pid=2) INFO 11-24 11:07:16 [model_runner.py:392] Loading model from "
        "scratch...",
        "loading weights",
    ),
    (
        "(EngineCore pid=2) INFO 11-24 11:07:18 [model_runner.py:425] Model loading took 13.75 GiB "
        "memory and 1.810444 seconds",
        "weights loaded",
    ),
    (
        "(Worker pid=3) INFO 11-24 11:07:20 [backends.py:1167] Dynamo bytecode transform time: "
        "5.02 s",
        "compiling",
    ),
    (
        "(Worker pid=3) INFO 11-24 11:07:30 [monitor.py:20] torch.compile took 20.12 s in total",
        "compiling",
    ),
    (
        "(EngineCore pid=2) INFO 11-24 11:07:31 [kv_cache_utils.py:2327] CPU KV cache size: "
        "93,184 tokens, Maximum concurrency for 8,192 tokens per request: 11.38x",
        "making the KV cache",
    ),
    (
        "(Worker pid=3) INFO 11-24 11:07:32 [cpu_model_runner.py:87] Warming up model for the "
        "compilation...",
        "warming up",
    ),
    (
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  12%|#         | 8/67",
        "capturing CUDA graphs",
    ),
    (
        "(EngineCore pid=2) INFO 11-24 11:07:33 [model_runner.py:1128] Graph capturing finished in "
        "4 secs, took 0.98 GiB",
        "warming up",
    ),
    (
        "(APIServer pid=1) INFO 11-24 11:07:33 [entry.py:136] Supported tasks: ['generate']",
        "opening its server",
    ),
    (
        "(APIServer pid=1) INFO 11-24 11:07:33 [entry.py:140] Starting vLLM server on "
        "unix:/run/api.sock",
        "opening its server",
    ),
]


def test_each_step_of_a_start_is_told_by_its_last_line() -> None:
    log = ""
    assert phase(log) == "starting"
    for line, words in START:
        log += line + "\n"
        assert phase(log) == words, line


def pydantic(of: str, *told: str) -> str:
    """Return a fault as pydantic prints it at the end of a traceback."""
    text = "\n".join(told)
    return (
        "    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)\n"
        f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {of}\n"
        f"  {text} [type=value_error, input_value=ArgsKwargs((), {{'model': ...}}), "
        "input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
    )


OUTER = (
    "RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore': 1}\n"
)
WORKER = "(Worker pid=3) ERROR 11-24 11:11:06 [multiproc_executor.py:1063] "
CORE = "(EngineCore pid=2) ERROR 11-24 11:11:06 [core.py:1510] "
REASONS = {
    "an unknown argument": (
        "                     [--enable-log-requests | --no-enable-log-requests]\n"
        "api_server.py: error: unrecognized arguments: --no-such-flag\n",
        "api_server.py: error: unrecognized arguments: --no-such-flag",
    ),
    "a value that cannot be": (
        pydantic("ModelConfig", "Value error, User-specified max_model_len (100000) is greater."),
        "ValidationError: ModelConfig: User-specified max_model_len (100000) is greater.",
    ),
    "a fault of several lines": (
        pydantic("ModelConfig", "Value error, Invalid local directory: '/x'.", "Provide:", "1. a"),
        "ValidationError: ModelConfig: Invalid local directory: '/x'. Provide: 1. a",
    ),
    "too little memory": (
        f"{WORKER}    raise ValueError(\n"
        f"{WORKER}ValueError: Available memory on node 0 (12.44/15.59 GiB) on kv cache allocation "
        "is less than requested memory for kv (1000.0 GiB).\n"
        f"{CORE}RuntimeError: Worker failed with error 'Available memory on node 0 (12.44/15.59 "
        "GiB) [...]', please check the stack trace above for the root cause\n" + OUTER,
        "ValueError: Available memory on node 0 (12.44/15.59 GiB) on kv cache allocation is less "
        "than requested memory for kv (1000.0 GiB).",
    ),
    "broken weights": (
        f"{WORKER}safetensors._safetensors_rust.SafetensorError: Error while deserializing "
        "header: incomplete metadata, file not fully covered\n" + OUTER,
        "SafetensorError: Error while deserializing header: incomplete metadata, file not fully "
        "covered",
    ),
    "a core that died later": (
        f"{WORKER}RuntimeError: CPU Generator does not use offset\n"
        "(APIServer pid=1) ERROR 11-24 11:20:03 [async_llm.py:906] vllm.v1.engine.exceptions."
        "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root "
        "cause.\n",
        "RuntimeError: CPU Generator does not use offset",
    ),
    "nothing but the outer error": (OUTER, OUTER.strip()),
    "an end without an error": (
        "Loading safetensors checkpoint shards:   0% Completed | 0/1\n\n",
        "Loading safetensors checkpoint shards:   0% Completed | 0/1",
    ),
    "nothing at all": ("", "its log is empty"),
}


@pytest.mark.parametrize("case", REASONS)
def test_failure_is_told_by_its_cause(case: str) -> None:
    log, reason = REASONS[case]
    warning = (
        "(APIServer pid=1) WARNING 11-24 11:10:53 [system_utils.py:255] Found ulimit of 20000. "
        "This can cause fd limit errors like `OSError: [Errno 24] Too many open files`.\n"
    )
    assert failure_reason(warning + log if log else log) == reason


def test_a_reason_is_bounded() -> None:
    assert len(failure_reason(f"ValueError: {'x' * 9_000}")) == 1_000
    assert len(failure_reason("x" * 9_000)) == 1_000


def test_tail_reads_the_end_and_nothing_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    assert tail(log) == ""
    log.write_bytes(b"first\n" * 50_000 + b"last \xff\n")
    assert tail(log, size=12) == "first\nlast \ufffd\n"[-12:]
    assert len(tail(log)) == 64 * 1024


def test_rotation_keeps_the_last_five(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    rotate(log)
    assert not list(tmp_path.iterdir())
    for number in range(8):
        log.write_text(f"engine {number}")
        rotate(log)
    assert not log.exists()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {f"engine.log.{age}": f"engine {8 - age}" for age in range(1, KEEP + 1)}
