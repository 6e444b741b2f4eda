"""The results as a Markdown table, and its place in a document between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.proof.results import Result

BEGIN = "<!-- make bench -->"
END = "<!-- end of make bench -->"


def markdown(results: Sequence[Result], machine: Mapping[str, Any], *, details: bool = True) -> str:
    """Return the table, with a line above it that says when and on what it was measured."""
    shown = [one for one in results if details or not one.detail]
    rows = [
        caption(machine),
        "",
        "| what | measured | goal |",
        "| --- | --- | --- |",
        *(f"| {one.what} | {measured(one)} | {goal(one)} |" for one in shown),
    ]
    return "\n".join(rows) + "\n"


def caption(machine: Mapping[str, Any]) -> str:
    """Return the machine, the versions and the day in one sentence."""
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    parts = [
        f"{machine['cores']} cores ({machine['cpu']})",
        f"{machine['memory_gib']:.0f} GiB",
        gpus,
        f"vLLM {machine['vllm']}" if machine.get("vllm") else "",
        machine.get("model", ""),
    ]
    told = ", ".join(part for part in parts if part)
    return f"Measured on {machine['day']}: {told}. Medians, with the range of the repeats."


def measured(one: Result) -> str:
    """Return the figure with its range; of one repeat there is none."""
    text = number(one.value)
    if one.low is not None and one.high is not None and one.low != one.high:
        text += f" ({number(one.low)} to {number(one.high)})"
    text += f" {one.unit}" if one.unit else ""
    return f"{text}; {one.note}" if one.note else text


def goal(one: Result) -> str:
    """Return what was to come out, and whether it did."""
    if one.goal is None:
        return ""
    words = {">=": "at least", "<=": "at most"}[one.sign]
    return f"{words} {number(one.goal)}" + ("" if one.held else ": missed")


def number(value: float) -> str:
    """Return a figure with three digits that count, whole where it is large."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    text = f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def put_between(document: str, text: str) -> str:
    """Return the document with `text` between its markers; ValueError where it has not both."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The document has no {BEGIN} with {END} after it.")
    return f"{before}{BEGIN}\n{text}{END}{after}"
