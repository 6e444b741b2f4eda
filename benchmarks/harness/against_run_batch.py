"""The product beside vLLM's own `run-batch`: the same file, the same engine settings.

    python -m benchmarks.harness.against_run_batch MODEL_FOLDER [--lines 512] [--json FILE]
        [--engine-python PYTHON] [--engine-args "--gpu-memory-utilization 0.45"]

Starts a product of its own in a temporary folder and takes it down again. The product's engine
stays loaded while `run-batch` has one of its own, and computes nothing then: on a GPU both must
fit, so give each less than half of the memory. `run-batch` gets the command line and the
environment of the product's engine, less what only a server knows.

Each round has prompts of its own, or the engine that stays would know them. Every answer has
`--max-tokens` tokens (`ignore_eos`), so both do the same work. Random weights serve as well as
real ones: write a config.json, and give `--load-format dummy`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import run_batch
from benchmarks.harness.transfer import create_batch, fetch, upload
from tests.stack import Stack
from tests.stack.lines import chat_line

MODEL = "bench"
OURS, THEIRS = "vbatch", "run-batch"
_WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "runs", "away"]


def main() -> None:
    """Run both in turn; exit status 1 unless all lines are answered by both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path, help="a folder in the Hugging Face format")
    parser.add_argument("--lines", type=int, default=512)
    parser.add_argument("--prompt-words", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1, help="ours, theirs; and ours at the end")
    parser.add_argument("--engine-python", default=sys.executable, help="the Python with vLLM")
    parser.add_argument("--engine-args", default="")
    parser.add_argument("--max-num-batched-tokens", type=int, default=8_192)
    parser.add_argument("--start-timeout", type=float, default=900.0, help="of the engine, in s")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()

    env = {"VBATCH_ENGINE_PYTHON": args.engine_python, "HF_HUB_OFFLINE": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="vbatch-bench-") as folder,
        Stack(Path(folder), models={}, env=env) as stack,
    ):
        # vLLM's own default differs between its server and run-batch.
        batched = f"--max-num-batched-tokens {args.max_num_batched_tokens}"
        engine_args = f"{args.engine_args} {batched}"
        stack.save_model(MODEL, source=str(args.model.resolve()), engine_args=engine_args)
        stack.start_web()
        stack.start_worker()
        found = compare(
            stack,
            lines=args.lines,
            prompt_words=args.prompt_words,
            max_tokens=args.max_tokens,
            rounds=args.rounds,
            start_timeout_s=args.start_timeout,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    show(found)
    sys.exit(0 if all(r["lines"] == args.lines for r in found["rounds"]) else 1)


def compare(
    stack: Stack,
    *,
    model: str = MODEL,
    lines: int,
    prompt_words: int,
    max_tokens: int,
    rounds: int,
    start_timeout_s: float,
) -> dict[str, Any]:
    """Run ours, theirs, ..., ours; return each round and the ratio of the medians."""

    def requests(number: int) -> Path:
        path = stack.folder / f"{model}-{number}.jsonl"
        make_lines(
            path,
            model=model,
            lines=lines,
            words=prompt_words,
            max_tokens=max_tokens,
            prefix=f"round {number}, ",
        )
        return path

    load_s = warm_up(stack, model=model, timeout_s=start_timeout_s)
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        path = requests(number)
        found.append(ours(stack, path))
        found.append(theirs(stack, path))
    found.append(ours(stack, requests(rounds)))
    rates = {
        who: statistics.median(one["output_tokens_per_s"] for one in found if one["who"] == who)
        for who in (OURS, THEIRS)
    }
    query = "SELECT engine_version FROM jobs_lane WHERE engine_state = 'ready'"
    return {
        "machine": platform.machine(),
        "gpus": stack.sql("SELECT name, driver, memory_total_bytes FROM jobs_gpu ORDER BY index"),
        "vllm": stack.sql(query)[0][0],
        "engine": stack.find("engine")[0].args[1:],
        "lines": lines,
        "max_tokens": max_tokens,
        "load_s": load_s,
        "rounds": found,
        "ratio": rates[OURS] / rates[THEIRS],
    }


def make_lines(
    path: Path, *, model: str, lines: int, words: int, max_tokens: int, prefix: str = ""
) -> None:
    """Write chat requests of about `words` words, all different from the first words on."""
    with path.open("w") as file:
        for number in range(lines):
            text = " ".join(_WORDS[(number + at * at) % len(_WORDS)] for at in range(words))
            line = chat_line(
                f"request-{number}",
                f"{prefix}{number}: {text}",
                model=model,
                max_tokens=max_tokens,
                temperature=0,
                ignore_eos=True,
            )
            file.write(json.dumps(line) + "\n")


def warm_up(stack: Stack, *, model: str, timeout_s: float) -> float:
    """Answer a few lines, so that the engine is loaded; return how long it took to load."""
    path = stack.folder / f"{model}-warm.jsonl"
    make_lines(path, model=model, lines=32, words=50, max_tokens=16)
    file_id, _ = upload(stack.url, stack.key, path)
    batch_id = create_batch(stack.url, stack.key, file_id)
    state = stack.wait_ended(batch_id, timeout_s)
    if state != "completed" or stack.state(batch_id)[2] != 32:
        raise RuntimeError(f"The engine did not answer: {stack.state(batch_id)}")
    query = "SELECT extract(epoch FROM engine_ready_at - engine_started_at)::float8 FROM jobs_lane "
    load_s: float = stack.sql(query + "WHERE engine_state = 'ready'")[0][0]
    return load_s


def ours(stack: Stack, path: Path) -> dict[str, Any]:
    """Upload, run and download a batch on the warm engine, as a user of the API does."""
    answers = path.with_suffix(".ours")
    started_at = time.time()
    file_id, _ = upload(stack.url, stack.key, path)
    batch_id = create_batch(stack.url, stack.key, file_id)
    state = stack.wait_ended(batch_id, 3_600)
    output_id = stack.client.batches.retrieve(batch_id).output_file_id
    if state != "completed" or output_id is None:
        raise RuntimeError(f"The batch is {stack.state(batch_id)}")
    fetch(stack.url, stack.key, output_id, answers)
    took_s = time.time() - started_at
    lines, tokens = run_batch.count(answers)
    return {
        "who": OURS,
        "lines": lines,
        "output_tokens": tokens,
        "warm_to_file_s": took_s,
        "output_tokens_per_s": tokens / took_s,
        "steady_tokens_per_s": _steady_rate(stack, batch_id),
    }


def theirs(stack: Stack, path: Path) -> dict[str, Any]:
    """Run the file with `run-batch`, as the product's engine was started."""
    engine = stack.find("engine")[0]
    answers = path.with_suffix(".theirs")
    timed = run_batch.run(
        run_batch.as_run_batch(engine, requests=path, answers=answers),
        # Not what marks the product's own processes: this one must not be taken for its child.
        env={k: v for k, v in engine.environ.items() if not k.startswith("VBATCH_")},
        answers=answers,
        log=stack.folder / "run_batch.log",
    )
    return {
        "who": THEIRS,
        **asdict(timed),
        "output_tokens_per_s": timed.output_tokens / timed.warm_to_file_s,
    }


def _steady_rate(stack: Stack, batch_id: str) -> float | None:
    """Return output tokens a second between the first and the last tenth of the answers."""
    rows = stack.sql(
        "SELECT a.output_tokens, extract(epoch FROM a.created_at)::float8 "
        "FROM jobs_batchresponse a JOIN jobs_batch b ON b.id = a.batch_id "
        "WHERE b.public_id = %s ORDER BY a.seq",
        batch_id,
    )
    low, high = len(rows) // 10, len(rows) * 9 // 10
    span_s = rows[high][1] - rows[low][1]
    # Answers are committed in groups: within a single group there is no rate.
    return sum(row[0] for row in rows[low:high]) / span_s if span_s > 0 else None


def show(found: dict[str, Any]) -> None:
    """Print each round, and what the product gets of `run-batch`'s rate."""
    table = Table("round", "lines", "output tokens", "warm engine to file", "tokens/s", "steady")
    for one in found["rounds"]:
        steady = one.get("steady_tokens_per_s")
        table.add_row(
            one["who"],
            f"{one['lines']:,}",
            f"{one['output_tokens']:,}",
            f"{one['warm_to_file_s']:.1f} s",
            f"{one['output_tokens_per_s']:,.0f}",
            f"{steady:,.0f}" if steady else "",
        )
    console = Console()
    console.print(table)
    console.print(f"vbatch / run-batch: {found['ratio']:.3f}")


if __name__ == "__main__":
    main()
