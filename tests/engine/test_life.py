"""The life of a real engine: its start, its environment, a swap of models, its end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import First
from tests.engine.requests import chat, line, submit
from tests.engine.waiting import LOAD_S, wait, wait_completed
from tests.stack import Stack, check_finished, check_nobody_left

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PREFIX = "You keep the rules of a very old house. " * 60


def engine_groups(stack: Stack) -> set[int]:
    """Return the process groups in which something of an engine lives."""
    return {p.group for p in stack.processes() if p.role in ("engine", "engine-core")}


def test_failed_start_puts_vllms_own_reason_on_the_batch(stack: Stack, failed_start: str) -> None:
    assert "error: unrecognized arguments: --no-such-argument" in failed_start
    assert "ended with status 2" in failed_start
    assert "next try at" in failed_start
    logs = sorted((stack.data_dir / "log").glob("engine-stack-cpu.log*"))
    assert any("unrecognized arguments: --no-such-argument" in log.read_text() for log in logs)


def test_start_is_told_with_its_progress(stack: Stack, first: First) -> None:
    steps = [told for told in first.waited_for if told.startswith("the engine on ")]
    assert any("to start: starting, " in told for told in steps), first.waited_for
    # Out of the engine's log; on a busy machine some of them pass between two looks.
    known = ("reading the model's configuration", "starting its core", "loading weights")
    assert any(f"to start: {words}" in told for told in steps for words in known), first.waited_for
    log = stack.data_dir / "log" / "engine-stack-cpu.log"
    assert "Starting vLLM server on unix:" in log.read_text()


def test_what_makes_it_fast_is_in_force(stack: Stack, first: First) -> None:
    cores = sorted(os.sched_getaffinity(0))
    (engine,) = stack.find("engine")
    workers = [p for p in stack.find("engine-core") if p.args[0].startswith("VLLM::Worker")]
    assert len(workers) == 1
    for process in (engine, *stack.find("engine-core")):
        assert process.environ["OMP_NUM_THREADS"] == str(len(cores))
        assert process.environ["TORCHDYNAMO_DISABLE"] == "1"
        assert "DJANGO_SETTINGS_MODULE" not in process.environ
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "libiomp5.so" in maps, f"no Intel OpenMP in {process}"
    tasks = Path(f"/proc/{workers[0].pid}/task").glob("*/status")
    allowed = {
        text.split("Cpus_allowed_list:")[1].split()[0] for text in map(Path.read_text, tasks)
    }
    assert {str(core) for core in cores} <= allowed, "no thread is bound to one core alone"


def test_media_are_fetched_from_no_host_that_was_not_allowed(stack: Stack, first: First) -> None:
    (engine,) = stack.find("engine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/picture.png"
        # vLLM's own fetcher, set up as vLLM does from the running engine's arguments; the small
        # chat model refuses pictures before it would come to that.
        script = """
import sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.multimodal.media import MediaConnector
from vllm.utils.argparse_utils import FlexibleArgumentParser

args = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[2:])
connector = MediaConnector(allowed_media_domains=args.allowed_media_domains)
connector.fetch_image(sys.argv[1])
"""
        at = engine.args.index("vllm.entrypoints.openai.api_server") + 1
        done = subprocess.run(
            [sys.executable, "-c", script, url, *engine.args[at:]],
            capture_output=True,
            text=True,
            timeout=LOAD_S,
        )
        assert "The URL must be from one of the allowed domains" in done.stderr, done.stderr[-2000:]
        with pytest.raises(TimeoutError):
            server.accept()


def test_second_batch_on_a_warm_engine_is_answered_at_once(stack: Stack, first: First) -> None:
    lines = [
        chat("warm-up", "Hello?", system=PREFIX),
        *[chat(f"seed-{n}", "Invent a word.", seed=7, temperature=1.0) for n in range(3)],
        *[chat(f"other-{n}", "Invent a word.", seed=n, temperature=1.0) for n in range(4)],
    ]
    groups = engine_groups(stack)
    batch = submit(stack, lines)
    wait_completed(stack, batch)
    waited_s = stack.sql(
        "SELECT extract(epoch FROM min(r.created_at) - b.created_at)::float8 FROM jobs_batch b "
        "JOIN jobs_batchresponse r ON r.batch_id = b.id WHERE b.public_id = %s GROUP BY b.id",
        batch,
    )[0][0]
    print(f"\nfirst answer on a warm engine {waited_s:.2f} s after the batch was made")
    assert waited_s < 10.0
    assert engine_groups(stack) == groups, "the engine was started anew"
    results = check_finished(stack, batch, lines)
    assert len({results.text(f"seed-{n}") for n in range(3)}) == 1
    assert len({results.text(f"other-{n}") for n in range(4)}) > 1


def test_shared_beginnings_are_counted_as_cached(stack: Stack, first: First) -> None:
    # A batch after the other: the second finds what the first has computed.
    for number in range(2):
        lines = [chat(f"again-{number}", f"Rule {number}?", system=PREFIX)]
        batch = submit(stack, lines)
        wait_completed(stack, batch)
        results = check_finished(stack, batch, lines)
    usage = stack.client.batches.retrieve(batch).usage
    assert usage is not None
    cached = usage.input_tokens_details.cached_tokens
    assert 0.5 * usage.input_tokens < cached < usage.input_tokens
    line_usage = results.output["again-1"]["response"]["body"]["usage"]
    assert line_usage["prompt_tokens_details"]["cached_tokens"] == cached


def test_answers_can_be_read_while_the_batch_runs(stack: Stack, first: First) -> None:
    lines = [
        chat(f"live-{n}", f"Tell story {n}.", max_tokens=4 + 8 * n, ignore_eos=True)
        for n in range(24)
    ]
    batch = submit(stack, lines)
    wait(stack, lambda: stack.state(batch)[2] > 0, "the first answer")
    running = stack.client.batches.retrieve(batch)
    assert running.status == "in_progress"
    assert running.output_file_id is not None
    early = stack.client.files.content(running.output_file_id).text
    told = [json.loads(each) for each in early.splitlines()]
    assert 0 < len(told) < len(lines)
    wait_completed(stack, batch)
    results = check_finished(stack, batch, lines)
    for each in told:
        assert results.output[each["custom_id"]] == each, "an answer changed after it was shown"


def test_models_are_swapped_one_after_the_other(stack: Stack, first: First) -> None:
    texts = {
        "cat": "A cat sits on the mat.",
        "kitten": "A kitten is resting on a rug.",
        "tax": "Quarterly tax returns are due in April.",
    }
    lines = [
        line(name, "/v1/embeddings", model="embed", input=text) for name, text in texts.items()
    ]
    lines.append(line("many", "/v1/embeddings", model="embed", input=list(texts.values())))
    lines.append(line("too-long", "/v1/embeddings", model="embed", input="word " * 400))
    before = engine_groups(stack)
    batch = submit(stack, lines)
    seen = {frozenset(before)}

    def has_ended() -> bool:
        seen.add(frozenset(engine_groups(stack)))
        return stack.state(batch)[0] == "completed"

    wait(stack, has_ended, "the embeddings")
    assert max(len(groups) for groups in seen) == 1, "two engines had memory at one time"
    assert engine_groups(stack).isdisjoint(before)
    results = check_finished(stack, batch, lines)
    assert set(results.errors) == {"too-long"}
    vectors = {name: vector(results.output[name]) for name in texts}
    assert {len(each) for each in vectors.values()} == {384}
    near = dot(vectors["cat"], vectors["kitten"])
    assert near > 0.5 > dot(vectors["cat"], vectors["tax"])
    many = results.output["many"]["response"]["body"]["data"]
    assert [
        dot(each["embedding"], vectors[name]) for each, name in zip(many, texts, strict=True)
    ] == (pytest.approx([1.0, 1.0, 1.0], abs=0.01))


def vector(result: dict[str, Any]) -> list[float]:
    found: list[float] = result["response"]["body"]["data"][0]["embedding"]
    return found


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.torture
def test_sigterm_in_the_middle_of_work_leaves_no_process(stack: Stack, first: First) -> None:
    lines = [
        chat(f"long-{n}", f"Tell story {n}.", max_tokens=8 if n < 8 else 1_500, ignore_eos=True)
        for n in range(80)
    ]
    batch = submit(stack, lines)
    wait(stack, lambda: stack.state(batch)[2] > 0, "the first answers")
    assert engine_groups(stack)
    started = time.monotonic()
    assert stack.stop_process("worker", within_s=30) == 0
    print(f"\nthe worker ended {time.monotonic() - started:.1f} s after SIGTERM")
    assert stack.state(batch)[0] == "in_progress"
    assert not engine_groups(stack)
    stack.client.batches.cancel(batch)
    assert stack.wait_ended(batch, 15) == "cancelled"
    results = check_finished(stack, batch, lines)
    assert len(results.output) >= 8
    assert {results.error_code(key) for key in results.errors} == {"batch_cancelled"}
    stack.stop_process("web")
    check_nobody_left(stack)
