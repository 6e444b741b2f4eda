"""What the product itself costs, measured with a stub in the engine's place.

    python -m benchmarks.harness.control_plane [--lines 50000] [--json FILE]

Starts a product of its own in a temporary folder (database, web, worker) and takes it down
again. Absolute figures are the machine's; the ratio to the bare loop, which runs against the
same stub before and after, is the product's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import large_batch, small_batches
from tests.stack import Stack

# The limits that the product promises: key, comparison, value.
LIMITS: dict[str, tuple[str, float]] = {
    "upload_and_validation_s": ("<=", 8.0),
    "ratio": (">=", 0.65),
    "web_growth_mb": ("<", 150.0),
    "worker_growth_mb": ("<", 150.0),
    "first_answer_worst_s": ("<=", 2.0),
    "ten_to_one": ("<=", 1.15),
}


def main() -> None:
    """Run the parts asked for; exit status 1 if a limit is not held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--line-bytes", type=int, default=2_000)
    parser.add_argument("--answer-bytes", type=int, default=1_024)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--bare-lines", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="large batches, bare loops between")
    parser.add_argument("--pairs", type=int, default=5, help="ten small against one large")
    parser.add_argument("--concurrency", type=int, default=16, help="of the stub, in those pairs")
    parser.add_argument("--times", type=int, default=7, help="first answers")
    parser.add_argument("--only", choices=["large", "small"])
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()

    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    plan = {
        "answer_bytes": args.answer_bytes,
        "engine_args": large_batch.engine_args(args.window),
    }
    with (
        tempfile.TemporaryDirectory(prefix="vbatch-bench-") as folder,
        Stack(Path(folder), models={large_batch.MODEL: plan}) as stack,
    ):
        stack.start_web()
        stack.start_worker()
        if args.only != "small":
            found |= large_batch.run(
                stack,
                lines=args.lines,
                line_bytes=args.line_bytes,
                window=args.window,
                bare_lines=args.bare_lines,
                rounds=args.rounds,
            )
        if args.only != "large":
            large_batch.warm_up(stack)
            found |= small_batches.first_answers(stack, times=args.times)
            found |= small_batches.ten_against_one(
                stack, pairs=args.pairs, concurrency=args.concurrency
            )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(0 if show(found) else 1)


def show(found: dict[str, Any]) -> bool:
    """Print the figures beside their limits; return whether all limits are held."""
    table = Table("figure", "measured", "limit", "")
    held = True
    for key, value in found.items():
        text = f"{value:,.3f}" if isinstance(value, float) else str(value)
        limit, verdict = "", ""
        if key in LIMITS:
            sign, bound = LIMITS[key]
            good = {"<=": value <= bound, ">=": value >= bound, "<": value < bound}[sign]
            held = held and good
            limit, verdict = f"{sign} {bound:g}", "held" if good else "MISSED"
        table.add_row(key, text, limit, verdict)
    Console().print(table)
    return held


if __name__ == "__main__":
    main()
