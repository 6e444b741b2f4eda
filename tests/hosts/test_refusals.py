"""A host that does not fit the others is refused at its start, in words that say what to do."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator

import pytest

from tests.stack import Stack, chat_lines
from tests.stack.hosts import Host
from vbatch_site.version import VERSION

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def first(stack: Stack) -> Iterator[Host]:
    """The host that is there already, with a file in its storage."""
    with Host(stack, "first") as host:
        host.start()
        stack.submit(list(chat_lines(1, prefix="stored")))
        yield host


def test_a_name_that_is_alive_in_another_data_folder(
    first: Host, make_host: Callable[..., Host]
) -> None:
    said = make_host("first", folder="other").run_refused()
    assert "Another worker named 'first' is alive, from another data folder." in said
    assert "VBATCH_WORKER_NAME" in said and "runworker --name" in said


def test_a_second_worker_in_the_same_data_folder(first: Host) -> None:
    said = first.run_refused()
    assert "A worker named 'first' runs on this host already." in said
    assert "VBATCH_WORKER_NAME" in said


def test_a_name_that_no_queue_could_have(first: Host) -> None:
    assert "at most 64" in first.run_refused("--name", "a/b")


def test_another_secret_key(first: Host, make_host: Callable[..., Host]) -> None:
    said = make_host("second", env={"VBATCH_SECRET_KEY": "another"}).run_refused()
    assert "secret key" in said and "VBATCH_SECRET_KEY" in said and "adopthost" in said
    assert "another" not in said.replace("another's", "")


def test_files_that_are_not_shared(first: Host, make_host: Callable[..., Host]) -> None:
    stranger = make_host("second", folder="alone", shares_files=False)
    said = stranger.run_refused()
    assert "does not share the files of the others that are alive (first)" in said
    assert str(stranger.data_dir / "files") in said and "VBATCH_S3_BUCKET" in said
    # No marker of its own was left behind that would pass for the others' later.
    assert not (stranger.data_dir / "files" / "vbatch-storage-id").exists()
    (stranger.data_dir / "files" / "vbatch-storage-id").write_text("f" * 32)
    assert "does not share the files" in stranger.run_refused()


def test_another_version(stack: Stack, first: Host, make_host: Callable[..., Host]) -> None:
    second = make_host("second")
    stack.sql("UPDATE jobs_worker SET version = '0.9.0' WHERE name = 'first'")
    try:
        said = second.run_refused()
    finally:
        stack.sql("UPDATE jobs_worker SET version = %s WHERE name = 'first'", VERSION)
    assert f"This host runs vbatch {VERSION}; worker 'first' runs 0.9.0." in said
    assert "manage.py migrate" in said


def test_a_database_that_is_ahead_of_the_code_or_behind(
    stack: Stack, make_host: Callable[..., Host]
) -> None:
    second = make_host("second")
    stack.sql(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('jobs', '9999_next', now())"
    )
    try:
        said = second.run_refused()
    finally:
        stack.sql("DELETE FROM django_migrations WHERE name = '9999_next'")
    assert "migrated further" in said and "jobs.9999_next" in said
    (gone,) = stack.sql(
        "DELETE FROM django_migrations WHERE id = (SELECT id FROM django_migrations "
        "WHERE app = 'jobs' ORDER BY name DESC LIMIT 1) RETURNING name"
    )[0]
    try:
        said = second.run_refused()
    finally:
        stack.sql(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('jobs', %s, now())", gone
        )
    assert "are not applied" in said and gone in said and "manage.py migrate" in said


def test_a_data_folder_restarts_at_once_after_a_crash(make_host: Callable[..., Host]) -> None:
    host = make_host("crashing")
    host.start()
    host.kill()
    host.start()
    assert stat.S_IMODE((host.data_dir / "instance_id").stat().st_mode) == 0o600


@pytest.mark.torture
def test_a_host_that_lost_its_name_while_it_was_cut_off_ends(
    stack: Stack, make_host: Callable[..., Host]
) -> None:
    """Silent for longer than a heartbeat may be, it finds another one under its name."""
    one, two = make_host("contested", folder="left"), make_host("contested", folder="right")
    one.start()
    (supervisor,) = [p for p in one.processes() if p.role == "supervisor"]
    os.kill(supervisor.pid, signal.SIGSTOP)
    stack.wait(
        lambda: stack.sql(
            "SELECT 1 FROM jobs_worker WHERE name = 'contested' "
            "AND heartbeat_at < now() - interval '10.5 s'"
        ),
        20,
        "its heartbeat to be old",
    )
    two.start()
    os.kill(supervisor.pid, signal.SIGCONT)
    assert one.wait_ended() == 1
    assert "has taken the name 'contested'" in one.log()
    assert not one.processes()
    (heartbeat,) = stack.sql(
        "SELECT heartbeat_at > now() - interval '5 s' AND stopped_at IS NULL AND NOT draining "
        "FROM jobs_worker WHERE name = 'contested'"
    )[0]
    assert heartbeat
