"""Runs the proof: `make bench`, or `python -m benchmarks.harness.proof`.

    make bench                                   all parts, some two hours on two cores
    make bench ARGS="--only chat,small"          some of them
    make bench ARGS="--only small --keep FILE"   one of them again, the others as FILE has them
    make bench ARGS="--model FOLDER --engine-args '--max-model-len 4096' --lines 4096"

Each part starts a product of its own in a temporary folder and takes it down again. What is
compared runs in turn, in changing order, one at a time; each batch has prompts of its own, since
an engine that stays loaded would know them. All figures go to a JSON file, the table of the
results to the terminal, and with `--readme` into README.md. Exit status 1 if a goal is missed.
Random weights serve as well as real ones: `--engine-args "--load-format dummy" --ignore-eos`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.harness.proof import machine, table
from benchmarks.harness.proof.parts import PARTS
from benchmarks.harness.proof.results import Result
from tests.stack.product import ROOT

SAMPLE_MODEL = ROOT / "var" / "models" / "smollm2-135m-instruct"
README = ROOT / "README.md"


def main() -> None:
    args = read_arguments()
    # As Ctrl-C does: what was started is taken down again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found: dict[str, Any] = {"machine": machine.describe(), "parts": {}}
    results: list[Result] = []
    if args.keep:
        earlier = json.loads(args.keep.read_text())
        if earlier["machine"]["cpu"] != found["machine"]["cpu"]:
            sys.exit(f"{args.keep} was measured on another machine.")
        # What only an engine tells, in case that none of these parts starts one.
        found["machine"] = earlier["machine"] | found["machine"]
        found["machine"]["gpus"] = earlier["machine"]["gpus"]
        days = {earlier["machine"]["day"], found["machine"]["day"]}
        found["machine"]["day"] = " and ".join(sorted(days))
        found["parts"], results = kept(earlier, without=args.only)
    for name in args.only:
        Console(stderr=True).print(f"{datetime.now():%H:%M:%S} {name}")
        figures, more = PARTS[name](args, found["machine"])
        found["parts"][name] = figures
        results = sorted([*results, *more], key=lambda one: list(PARTS).index(one.part))
        # After each part: what is measured stays, whatever becomes of the rest.
        write_json(args.json, {**found, "results": [one.as_json() for one in results]})
    text = table.markdown(results, found["machine"])
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        print(text)
    Console(stderr=True).print(f"All figures: {args.json}")
    if args.readme:
        short = table.markdown(results, found["machine"], details=False)
        README.write_text(table.put_between(README.read_text(), short))
    sys.exit(1 if any(one.held is False for one in results) else 0)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--model", type=Path, default=SAMPLE_MODEL, help="a model's folder")
    parser.add_argument(
        "--lines", type=int, default=512, help="of a chat file; half in `duplicates`, `pages`"
    )
    parser.add_argument("--max-tokens", type=int, default=64, help="more in `duplicates`")
    parser.add_argument("--ignore-eos", action="store_true", help="every answer has all tokens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--invocations", type=int, default=10, help="of run-batch, in `small`")
    parser.add_argument("--pairs", type=int, default=7, help="of batches, in `pages`")
    parser.add_argument("--window", type=int, default=256, help="in flight, in `sizes` and `api`")
    parser.add_argument("--api-rate", type=float, default=200, help="requests a second, in `api`")
    parser.add_argument("--engine-python", default=sys.executable, help="the Python with vLLM")
    parser.add_argument("--engine-args", default="", help="for both sides")
    parser.add_argument("--max-num-batched-tokens", type=int, default=8_192)
    parser.add_argument("--gpus", default="", help="the lane, as of VBATCH_GPUS")
    parser.add_argument("--start-timeout", type=float, default=1_800.0, help="of an engine, in s")
    parser.add_argument("--json", type=Path, help="default: var/bench/TIME.json")
    parser.add_argument("--keep", type=Path, help="a JSON file of before: its other parts stay")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    args = parser.parse_args()
    if not (args.model / "config.json").is_file():
        parser.error(f"There is no model in {args.model}: `make setup` prepares the small one.")
    now = datetime.now(UTC)
    args.json = args.json or ROOT / "var" / "bench" / f"{now:%Y-%m-%d-%H%M%S}.json"
    return args


def kept(
    earlier: Mapping[str, Any], *, without: Collection[str]
) -> tuple[dict[str, Any], list[Result]]:
    """Return the figures and results of an earlier run, of the parts that are not run again."""
    figures = {name: of for name, of in earlier["parts"].items() if name not in without}
    results = [
        Result(**{key: value for key, value in one.items() if key != "held"})
        for one in earlier["results"]
        if one["part"] not in without
    ]
    return figures, results


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part is called {', '.join(sorted(unknown))}")
    return [name for name in PARTS if name in names]


def write_json(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(found, indent=2) + "\n")
    draft.rename(path)


if __name__ == "__main__":
    main()
