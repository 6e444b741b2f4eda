"""The parts of the proof by name, each with the product that it needs."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import large_batch
from benchmarks.harness.proof import (
    api,
    chat,
    duplicates,
    machine,
    open_pages,
    prefixes,
    sizes,
    small,
)
from benchmarks.harness.proof.ours import warm_up
from benchmarks.harness.proof.results import Result
from benchmarks.harness.proof.turns import Turns
from tests.stack import Stack

MODEL = "bench"
# What a run tells, by name, and the rows of the table.
Part = tuple[dict[str, Any], list[Result]]
# An answer is reused only where that is what is measured; the harness asks faster than clients may.
ENV = {
    "VBATCH_REUSE_ANSWERS": "false",
    "VBATCH_REQUESTS_PER_MINUTE": "0",
    "HF_HUB_OFFLINE": "1",
}


@contextmanager
def engine_stack(args: argparse.Namespace) -> Iterator[Stack]:
    """Give a product whose engine is a real one; its web server runs."""
    env = {**ENV, "VBATCH_ENGINE_PYTHON": args.engine_python}
    if args.gpus:
        env["VBATCH_GPUS"] = args.gpus
    with (
        tempfile.TemporaryDirectory(prefix="vbatch-bench-") as folder,
        Stack(Path(folder), models={}, env=env) as stack,
    ):
        stack.start_web()
        yield stack


@contextmanager
def turns_of(args: argparse.Namespace, about: dict[str, Any]) -> Iterator[Turns]:
    """Give the product and `run-batch` in turn; note in `about` what the engine is."""
    with engine_stack(args) as stack:
        # vLLM's own default differs between its server and run-batch.
        batched = f"--max-num-batched-tokens {args.max_num_batched_tokens}"
        source = args.model.resolve()
        stack.save_model(MODEL, source=str(source), engine_args=f"{batched} {args.engine_args}")
        turns = Turns(
            stack,
            model=MODEL,
            source=source,
            engine_args=shlex.split(args.engine_args),
            load_s=args.start_timeout,
        )
        about |= machine.describe_engine(stack, model=source)
        yield turns


def run_chat(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with turns_of(args, about) as turns:
        return chat.measure(
            turns,
            lines=args.lines,
            max_tokens=args.max_tokens,
            rounds=args.rounds,
            body=_body(args),
        )


def run_small(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with turns_of(args, about) as turns:
        return small.measure(turns, invocations=args.invocations, max_tokens=args.max_tokens)


@contextmanager
def loaded_stack(
    args: argparse.Namespace, about: dict[str, Any], *, engine_args: str = ""
) -> Iterator[Stack]:
    """Give a product whose engine is loaded; note in `about` what it is, unless that stands."""
    with engine_stack(args) as stack:
        source = args.model.resolve()
        given = f"{args.engine_args} {engine_args}"
        stack.save_model(MODEL, source=str(source), engine_args=given)
        stack.start_worker()
        warm_up(stack, model=MODEL, timeout_s=args.start_timeout)
        if "vllm" not in about:
            about |= machine.describe_engine(stack, model=source)
        yield stack


@contextmanager
def stub_stack(args: argparse.Namespace) -> Iterator[Stack]:
    """Give a product with a stub for an engine, which answers at once."""
    largest = max(sizes.PACED)
    env = {**ENV, "VBATCH_MAX_LINES": str(largest)}
    plan = {"answer_bytes": sizes.ANSWER_BYTES, "engine_args": large_batch.engine_args(args.window)}
    with (
        tempfile.TemporaryDirectory(prefix="vbatch-bench-") as folder,
        Stack(Path(folder), models={large_batch.MODEL: plan}, env=env) as stack,
    ):
        stack.start_web()
        stack.start_worker()
        yield stack


def run_prefixes(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with loaded_stack(args, about, engine_args=prefixes.CACHE) as stack:
        return prefixes.measure(stack, model=MODEL, rounds=args.rounds)


def run_duplicates(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with loaded_stack(args, about, engine_args=duplicates.AT_ONCE) as stack:
        return duplicates.measure(
            stack,
            model=MODEL,
            lines=args.lines // 2,
            # The engine's prefix cache spares an equal line's prompt as it is: long answers show
            # what is left to be spared.
            max_tokens=4 * args.max_tokens,
            rounds=args.rounds,
        )


def run_sizes(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with stub_stack(args) as stack:
        return sizes.measure(stack, line_bytes=2_000, rounds=args.rounds)


def run_api(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with stub_stack(args) as stack:
        return api.measure(stack, rate=args.api_rate, seconds=20, rounds=args.rounds)


def run_pages(args: argparse.Namespace, about: dict[str, Any]) -> Part:
    with loaded_stack(args, about) as stack:
        return open_pages.measure(
            stack,
            model=MODEL,
            lines=args.lines // 2,
            max_tokens=args.max_tokens,
            pairs=args.pairs,
            body=_body(args),
        )


def _body(args: argparse.Namespace) -> Mapping[str, Any]:
    return {"ignore_eos": True} if args.ignore_eos else {}


PARTS: dict[str, Callable[[argparse.Namespace, dict[str, Any]], Part]] = {
    "chat": run_chat,
    "small": run_small,
    "prefixes": run_prefixes,
    "duplicates": run_duplicates,
    "sizes": run_sizes,
    "api": run_api,
    "pages": run_pages,
}
