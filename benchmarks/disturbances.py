"""What may have disturbed a run, in sentences: its figures alone do not show it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.models import Run


def disturbances_of(run: Run) -> list[str]:
    """Return what is to be known before a run's figures are believed."""
    found = []
    interrupted = run.figures.get("interrupted_repeats") or []
    if interrupted:
        found.append(
            f"In {_repeats(interrupted)} an engine was lost in the middle, and another went on: "
            f"{'it is' if len(interrupted) == 1 else 'they are'} in no median and in no comparison."
        )
    shared = run.figures.get("shared_repeats") or []
    if shared:
        found.append(
            f"In {_repeats(shared)} the lane answered other batches too: alone it would have been "
            "faster."
        )
    if any(check.get("model") == run.model_name for check in run.checks):
        found.append("The model judges its own answers.")
    return found


def _repeats(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"repeat {numbers[0]}"
    return f"repeats {', '.join(str(n) for n in numbers[:-1])} and {numbers[-1]}"
