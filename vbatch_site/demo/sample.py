"""The sample batch of the demo, sent with the official `openai` client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from openai import OpenAI
from openai.types import Batch
from rich.console import Console

from jobs.management.progress import follow

EXAMPLES = Path(settings.BASE_DIR) / "examples" / "questions.jsonl"
# Answers that a person would like to read first.
SHOWN = ("sky", "haiku-rain", "math-apples", "email-thanks")


def submit(client: OpenAI) -> Batch:
    """Upload the examples and make a batch of them."""
    with EXAMPLES.open("rb") as file:
        stored = client.files.create(file=file, purpose="batch")
    return client.batches.create(
        input_file_id=stored.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


def watch(
    client: OpenAI, batch: Batch, *, console: Console, check: Callable[[], None]
) -> tuple[Batch, float]:
    """Show the batch's progress until it has ended; return it and the seconds of answering.

    Those run from the last look before the first answer: the engine's start is left out.
    """
    started_at = time.monotonic()

    def look(found: Batch | None) -> None:
        nonlocal started_at
        check()
        counts = found.request_counts if found else None
        if counts is None or not counts.completed + counts.failed:
            started_at = time.monotonic()

    batch = follow(client, batch.id, console=console, look=look)
    return batch, time.monotonic() - started_at


def show_answers(client: OpenAI, batch: Batch, *, console: Console) -> None:
    """Print a few questions with their answers."""
    if batch.output_file_id is None:
        return
    questions = {}
    for line in EXAMPLES.read_text().splitlines():
        request = json.loads(line)
        questions[request["custom_id"]] = request["body"]["messages"][-1]["content"]
    for line in client.files.content(batch.output_file_id).text.splitlines():
        answer = json.loads(line)
        if answer["custom_id"] in SHOWN:
            text = answer["response"]["body"]["choices"][0]["message"]["content"]
            console.print(f"\n[bold]{questions[answer['custom_id']]}[/]")
            console.print(text.strip(), markup=False)


def summary(batch: Batch, seconds: float) -> str:
    """Return counts, tokens and throughput in one line."""
    counts, usage = batch.request_counts, batch.usage
    if counts is None or usage is None:
        return f"The batch is {batch.status}."
    rate = usage.output_tokens / seconds if seconds > 0 else 0.0
    return (
        f"{counts.completed} of {counts.total} answered in {seconds:.1f} s: "
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, "
        f"{rate:,.0f} output tokens/s."
    )
