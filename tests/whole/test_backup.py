"""A system that is saved in mid-run, and one that is made from it and finishes the work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.stack import Stack, chat_lines, check_finished
from tests.stack.product import ROOT
from vbatch_site.embedded_db import ensure_db

pytestmark = pytest.mark.stack

# Twenty seconds of work at 40 a second: a dump on a busy machine takes some of it.
LINES = 800


def manage(stack: Stack, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        env=stack.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Stack]:
    """A product of which nothing is there but its folder."""
    stack = Stack(tmp_path / "empty", models={})
    yield stack
    stack.tear_down()


@pytest.mark.torture
def test_a_system_saved_in_mid_run_is_restored_and_finishes_its_batch(
    make_stack: Callable[..., Stack], empty: Stack, tmp_path: Path
) -> None:
    saved = make_stack(models={"toy": {"latency_ms": 200, "engine_args": "--max-num-seqs 8"}})
    saved.start_web()
    saved.start_worker()
    lines = list(chat_lines(LINES))
    batch = saved.submit(lines)
    lost = saved.client.files.create(file=("lost.jsonl", b"{}\n"), purpose="batch").id
    kept = saved.client.files.create(file=("kept.jsonl", b'{"a": 1}\n'), purpose="batch").id
    saved.wait(lambda: saved.state(batch)[2] > 20, 30, "some answers")

    folder = tmp_path / "backups" / "first"
    done = manage(saved, "backup", str(folder))
    assert done.returncode == 0, done.stderr
    assert saved.state(batch)[0] == "in_progress", "it ended before it was saved"
    assert folder.stat().st_mode & 0o777 == 0o700
    saved.stop_process("worker")
    saved.stop_process("web")
    answered = saved.state(batch)[2]

    # As if it had been deleted between the dump and the copy.
    (path,) = saved.sql("SELECT paths[1] FROM jobs_storedfile WHERE public_id = %s", lost)[0]
    (folder / "files" / path).unlink()
    done = manage(empty, "restore", str(folder))
    assert done.returncode == 0, done.stderr
    assert "1 files had been deleted" in done.stdout
    empty.database_url, empty.key = ensure_db(empty.data_dir), saved.key
    assert (empty.data_dir / "secret_key").read_text() == (
        saved.data_dir / "secret_key"
    ).read_text()
    state, total, restored, _ = empty.state(batch)
    assert (state, total) == ("in_progress", LINES) and 20 < restored <= answered < LINES

    empty.start_web()
    with pytest.raises(openai.NotFoundError):
        empty.client.files.content(lost)
    assert empty.client.files.content(kept).read() == b'{"a": 1}\n'
    saved.write_plan("toy", latency_ms=5)
    empty.start_worker()
    assert empty.wait_ended(batch) == "completed"
    assert not check_finished(empty, batch, lines).errors
