"""Pictures of the pages, of a product that answers real batches: `python -m tests.gallery`.

Starts a product of its own on the small model's CPU engine, sends it batches, and takes pictures
while they run and once they have ended. Without options those of the README are made anew;
`--every FOLDER` takes each page wide and narrow, light and dark, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.pages.browsing import opened_at, started_browser
from tests.stack import Stack
from tests.stack.product import ROOT

PICTURES = ROOT / "docs" / "pictures"
MODEL, FOLDER = "smollm2", "smollm2-135m-instruct"
ARGS = "--enforce-eager --max-model-len 2048 --max-num-seqs 64"
# What is no part of OpenAI's API answers with an object as it is.
AS: dict[str, Any] = {"cast_to": dict[str, Any]}
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# Of a page no more is taken than a reader of the README would scroll through.
TALLEST = 1_400
CITIES = ("Lima", "Oslo", "Kyoto", "Nairobi", "Lisbon", "Hanoi", "Quito", "Tunis")
TASKS = (
    "Name one sight of",
    "Write a slogan for",
    "What do people eat in",
    "Describe a morning in",
)
PERSON = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "founded": {"type": "integer"}},
    "required": ["city", "founded"],
}
CSV = "city,question\n" + "".join(
    f'{city},"{task} {city}, in one sentence."\n' for city in CITIES for task in TASKS
)


def _line(custom_id: str, text: str, **body: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You are a travel writer. Answer in one or two sentences."},
        {"role": "user", "content": text},
    ]
    wanted = {"model": MODEL, "messages": messages, "max_tokens": 60, "seed": 1, **body}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": wanted,
    }


def _questions(count: int, **body: Any) -> Iterator[dict[str, Any]]:
    for n in range(count):
        city, task = CITIES[n % len(CITIES)], TASKS[n // len(CITIES) % len(TASKS)]
        yield _line(f"{city.lower()}-{n:04}", f"{task} {city} ({n}).", **body)


def _records() -> Iterator[dict[str, Any]]:
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": PERSON}}
    yield from (
        _line(f"record-{city.lower()}", f"Give the record of {city}.", response_format=schema)
        for city in CITIES
    )
    # More than the model has room for: refused by the engine, with its reason.
    yield _line("record-atlantis", "Give the record of Atlantis.", max_tokens=100_000)


def _shoot(page: Page, path: Path, *, full: bool) -> None:
    page.wait_for_load_state("networkidle")
    # Charts ask for their numbers first.
    page.wait_for_timeout(2_500)
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height, TALLEST)})
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=full)
    sys.stdout.write(f"{path}\n")


class Gallery:
    """Takes the pictures of a running product into a folder; logs in once for each look."""

    def __init__(self, stack: Stack, browser: Browser, folder: Path, *, every: bool) -> None:
        self.stack, self.folder, self.every = stack, folder, every
        self._open = ExitStack()
        folder.mkdir(parents=True, exist_ok=True)
        widths = (("", WIDE), ("-narrow", NARROW)) if every else (("", WIDE),)
        self._pages = {
            f"{words}-{theme}": self._open.enter_context(
                opened_at(
                    browser,
                    stack.url,
                    stack.login_token(),
                    viewport=viewport,
                    color_scheme=theme,
                )
            )
            for words, viewport in widths
            for theme in ("light", "dark")
        }
        self._sizes = {words: page.viewport_size for words, page in self._pages.items()}

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def take(self, name: str, address: str, act: Any = None) -> None:
        """Take the page at `address`, after `act(page)` where there is something to be done."""
        for words, page in self._pages.items():
            page.set_viewport_size(self._sizes[words])
            page.goto(f"{self.stack.url}{address}")
            if act is not None:
                act(page)
            _shoot(page, self.folder / f"{name}{words}.png", full=self.every)


def _submit_table(page: Page) -> None:
    page.set_input_files(
        "input[type=file]",
        {"name": "cities.csv", "mimeType": "text/csv", "buffer": CSV.encode()},
    )
    page.get_by_label("User message").fill("{question}")
    page.get_by_label("Model").first.select_option(MODEL)
    page.get_by_role("button", name="Upload and check").click()
    page.get_by_text("in order").wait_for()


def _measured(stack: Stack) -> dict[str, Any]:
    """Run a benchmark twice, the second held against the first; return the second."""
    body = {"workload": "short-chat", "requests": 16, "model": MODEL, "repeats": 5}
    run: dict[str, Any] = {}
    for note in ("kept as the baseline", "once more"):
        run = stack.client.post(f"{stack.url}/api/benchmarks", body={**body, "note": note}, **AS)
        address = f"{stack.url}/api/benchmarks/{run['id']}"
        stack.wait(
            lambda a=address: stack.client.get(a, **AS)["status"] == "completed", 600, "the figures"
        )
        if note == "kept as the baseline":
            stack.client.post(f"{address}/baseline", **AS)
    return run


def _open_charts(page: Page) -> None:
    for summary in page.locator("summary", has_text="Charts").all():
        summary.click()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=Path, metavar="FOLDER")
    every: Path | None = parser.parse_args().every
    env = {
        "VBATCH_ENGINE_PYTHON": sys.executable,
        "VBATCH_CPU_KVCACHE_GIB": "1",
        "VBATCH_HOST_NAME": "workstation",
        "HF_HUB_OFFLINE": "1",
    }
    source = str(ROOT / "var" / "models" / FOLDER)
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), models={}, env=env) as stack,
        started_browser() as browser,
    ):
        stack.save_model(MODEL, source=source, engine_args=ARGS)
        stack.start_web()
        with Gallery(stack, browser, every or PICTURES, every=every is not None) as gallery:
            if every:
                for name, address in (
                    ("home-empty", "/"),
                    ("batches-empty", "/batches"),
                    ("monitor-empty", "/monitor"),
                ):
                    gallery.take(name, address)
            stack.start_worker()
            _take_all(gallery, stack)


def _take_all(gallery: Gallery, stack: Stack) -> None:
    examples = (ROOT / "examples" / "questions.jsonl").read_text().splitlines()
    sample = stack.submit([json.loads(line) for line in examples], metadata={"team": "search"})
    records = stack.submit(_records(), metadata={"purpose": "records"})
    for batch in (sample, records):
        stack.wait_ended(batch, 300)
    again = [json.loads(line) for line in examples]
    for line in again:
        line["body"] |= {"temperature": 0.8, "seed": 3}
    warmer = stack.submit(again, metadata={"team": "search"})
    stack.wait_ended(warmer, 300)
    benchmark = _measured(stack)
    workload = benchmark["workload"]["id"]
    gallery.take("compare", f"/compare?side={sample}&side={warmer}&by=custom_id&show=different")
    gallery.take("benchmark", f"/benchmarks/{benchmark['id']}")
    running = stack.submit(_questions(1_500, ignore_eos=True), metadata={"team": "travel"})
    waiting = stack.submit(_questions(400))
    paused = stack.submit(_questions(120), metadata={"team": "travel"})
    stack.client.post(f"/batches/{paused}/pause", cast_to=object)
    stack.wait(lambda: stack.state(running)[2] > 150, 300, "answers")
    time.sleep(20)
    gallery.take("home", "/")
    gallery.take("batch", f"/batches/{running}")
    gallery.take("monitor", "/monitor", _open_charts)
    gallery.take("submit-review", "/submit", _submit_table)
    if gallery.every:
        gallery.take("batches", "/batches")
        gallery.take("batch-queued", f"/batches/{waiting}")
        gallery.take("batch-paused", f"/batches/{paused}")
        gallery.take("batch-errors", f"/batches/{records}")
        gallery.take("batch-done", f"/batches/{sample}")
        gallery.take("line", f"/batches/{records}/lines/1")
        gallery.take("submit", "/submit")
        gallery.take("docs", "/docs")
        gallery.take("results", f"/results?batch={sample}")
        gallery.take("benchmarks", f"/benchmarks?workload={workload}")
        gallery.take("benchmark-batches", "/benchmarks/batches")
        gallery.take("search", "/batches?q=nothing+like+it")
        gallery.take("admin", "/admin/")
        gallery.take("admin-batches", "/admin/jobs/batch/")
        stack.kill("supervisor")
        stack.forget("worker")
        time.sleep(15)
        gallery.take("home-dead", "/")
        gallery.take("monitor-dead", "/monitor")
        gallery.take("batch-dead", f"/batches/{running}")
    else:
        stack.client.batches.cancel(running)


if __name__ == "__main__":
    main()
