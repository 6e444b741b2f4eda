"""A whole product with its files on S3: a large batch, in little memory and one copy on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.memory import MemoryWatch
from benchmarks.harness.transfer import create_batch, download, make_input, upload
from tests.s3_server import BUCKET, CREDENTIALS, s3_server
from tests.stack import Stack

pytestmark = pytest.mark.stack

MB = 1_000_000
LINES = 50_000


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as url:
        env = {
            **CREDENTIALS,
            "VBATCH_S3_BUCKET": BUCKET,
            "VBATCH_S3_ENDPOINT": url,
            "VBATCH_S3_REGION": "us-east-1",
            "VBATCH_S3_PREFIX": "files",
        }
        with Stack(folder, env=env) as running:
            running.start_web()
            running.start_worker()
            yield running


class DiskWatch:
    """Samples how many bytes lie in a folder; `peak` is the most that was seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak = 0

    def __enter__(self) -> DiskWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self.now())

    def now(self) -> int:
        total = 0
        for path in self._folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        return total


@pytest.mark.torture
def test_a_batch_of_100_mb_goes_through_s3(stack: Stack) -> None:
    path = stack.folder / "large.jsonl"
    make_input(path, lines=LINES, line_bytes=2_000, model="toy", max_tokens=100)
    size = path.stat().st_size
    assert size > 99 * MB
    files = stack.data_dir / "files"
    with MemoryWatch(stack) as memory, DiskWatch(files) as disk:
        file_id, _ = upload(stack.url, stack.key, path)
        batch = create_batch(stack.url, stack.key, file_id)
        stack.wait(lambda: stack.state(batch)[0] == "in_progress", 60, "the validation")
        got, lines, _ = download(stack.url, stack.key, file_id)
    assert (got, lines) == (size, LINES)
    assert size <= disk.peak < 1.1 * size, "an upload lies on the disk once"
    assert disk.now() == 0
    grown = memory.process_growth_mb()
    assert max(grown.values()) < 80, grown
    assert stack.wait_ended(batch, 120) == "completed"
    assert stack.client.files.delete(file_id).deleted
