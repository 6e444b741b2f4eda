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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

EXAMPLES = Path(settings.BASE_DIR) / "examples" / "questions.jsonl"
# Answers that a person would like to read first.
SHOWN = ("sky", "haiku-rain", "math-apples", "email-thanks")
POLL_S = 0.5


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
    """Show the batch's progress until it has ended; return it and the seconds of answering."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    first_at = time.monotonic()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Waiting", total=None)
        while True:
            check()
            batch = client.batches.retrieve(batch.id)
            counts = batch.request_counts
            total = counts.total if counts else 0
            done = counts.completed + counts.failed if counts else 0
            if not done:
                first_at = time.monotonic()
            waiting = (batch.model_extra or {}).get("waiting_for")
            words = f"Waiting for {waiting}" if waiting else "Answering"
            progress.update(bar, total=total or None, completed=done, description=words)
            if batch.status in ("completed", "failed", "expired", "cancelled"):
                return batch, time.monotonic() - first_at
            time.sleep(POLL_S)


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
