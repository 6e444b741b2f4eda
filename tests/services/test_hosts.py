"""Which host may work beside the others, and which of them rings for all."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.core.checks import run_checks
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from jobs.models import Installation, Worker
from jobs.services import fleet, installation
from jobs.services.fleet import HostRefused, alive_workers, register_worker
from jobs.services.installation import enter_installation, find_faults
from jobs.services.storage_marker import MARKER, read_marker, write_marker
from tests.services.conftest import lines, order_for
from vbatch_site.secret import load_instance_id
from vbatch_site.version import VERSION

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings, tmp_path):
    settings.FILES_DIR = settings.MEDIA_ROOT = tmp_path / "files"


def register(name: str, instance: str, version: str = VERSION) -> Worker:
    return register_worker(name=name, instance=instance, pid=1, version=version, lanes=[])[0]


def silence(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_worker SET heartbeat_at = now() - interval '11 s' WHERE name = %s", [name]
        )


def faulty_parts() -> list[str]:
    return [fault.part for fault in find_faults(worker="me")]


# --- Names -----------------------------------------------------------------------------------
def test_a_name_is_of_one_data_folder_while_its_worker_is_alive():
    register("host", "a")
    register("host", "a")
    with pytest.raises(HostRefused, match="Another worker named 'host' is alive"):
        register("host", "b")
    silence("host")
    assert register("host", "b").instance == "b"


def test_a_stopped_worker_gives_its_name_up_at_once():
    fleet.stop_worker(register("host", "a"))
    assert register("host", "b").instance == "b"


def test_a_life_that_is_over_neither_beats_nor_stops_the_one_that_followed():
    before = register("host", "a")
    silence("host")
    after = register("host", "b")
    assert not fleet.beat(before) and fleet.beat(after)
    fleet.drain_worker(before)
    fleet.stop_worker(before)
    after.refresh_from_db()
    assert not after.draining and after.stopped_at is None
    # The same folder again is another life too: its processes of before are not to go on.
    again = register("host", "b")
    assert not fleet.beat(after) and fleet.beat(again)


def test_all_that_are_alive_run_one_version():
    register("old", "a", version="0.9.0")
    with pytest.raises(HostRefused, match=f"runs vbatch {VERSION}; worker 'old' runs 0.9.0"):
        register("new", "b")
    silence("old")
    register("new", "b")


@pytest.mark.parametrize("hours", [-1, 1])
def test_who_is_alive_is_by_the_databases_clock(hours):
    register("host", "a")
    real_now = timezone.now

    def now() -> datetime:
        return real_now() + timedelta(hours=hours)

    with mock.patch.object(timezone, "now", now):
        assert alive_workers().count() == 1
        silence("host")
        assert alive_workers().count() == 0


def test_one_of_the_hosts_rings_for_all():
    one, two = register("one", "a"), register("two", "b")
    assert (fleet.leads(one), fleet.leads(two)) == (True, False)
    fleet.drain_worker(one)
    assert (fleet.leads(one), fleet.leads(two)) == (False, True)
    silence("two")
    assert not fleet.leads(two)


def test_the_id_of_a_data_folder_is_made_once(tmp_path):
    path = tmp_path / "instance_id"
    assert load_instance_id(path) == load_instance_id(path)
    assert path.stat().st_mode & 0o777 == 0o600


# --- Key and files -----------------------------------------------------------------------------
def test_the_first_worker_makes_the_installation_and_all_fits():
    assert faulty_parts() == []
    enter_installation(worker="me")
    enter_installation(worker="me")
    assert read_marker() == Installation.objects.get().storage_id
    assert faulty_parts() == []


def test_another_secret_key_is_a_fault_until_it_is_adopted(settings):
    enter_installation(worker="me")
    settings.SECRET_KEY = "changed"
    assert faulty_parts() == ["secret_key"]
    enter_installation(worker="me")
    assert faulty_parts() == ["secret_key"], "it was taken without being asked"
    register("other", "a")
    with pytest.raises(CommandError, match="Stop every worker first"):
        call_command("adopthost", secret_key=True)
    silence("other")
    call_command("adopthost", secret_key=True)
    assert faulty_parts() == []


def test_files_of_its_own_are_refused_while_another_host_is_alive():
    enter_installation(worker="other")
    register("other", "a")
    default_storage.delete(MARKER)
    assert faulty_parts() == ["storage"]
    with pytest.raises(HostRefused, match="does not share the files"):
        enter_installation(worker="me")
    assert read_marker() is None
    write_marker("somebody else's")
    assert faulty_parts() == ["storage"]
    with pytest.raises(HostRefused, match="does not share the files"):
        enter_installation(worker="me")


def test_a_lone_host_that_has_the_files_goes_on_under_an_id_of_its_own():
    """One that comes back with the old marker must not pass for one that shares them."""
    order_for(lines(1))
    enter_installation(worker="me")
    before = read_marker()
    default_storage.delete(MARKER)
    enter_installation(worker="me")
    assert read_marker() == Installation.objects.get().storage_id != before


def test_a_host_without_the_files_is_refused_though_it_is_alone(settings, tmp_path):
    order_for(lines(1))
    enter_installation(worker="me")
    settings.MEDIA_ROOT = tmp_path / "elsewhere"
    with pytest.raises(HostRefused, match="are not in"):
        enter_installation(worker="me")
    call_command("adopthost", storage=True)
    assert faulty_parts() == []


def test_a_new_database_takes_the_marker_that_is_there():
    write_marker("known")
    enter_installation(worker="me")
    assert Installation.objects.get().storage_id == "known"


def test_adopting_wants_to_be_told_what():
    with pytest.raises(CommandError, match="Say what"):
        call_command("adopthost")


# --- What says so ------------------------------------------------------------------------------
def test_the_database_of_an_earlier_data_folder_is_told_apart_from_another_host(client, settings):
    enter_installation(worker="me")
    settings.SECRET_KEY = "made anew"
    said = client.get("/readyz").json()["secret_key"]
    assert "earlier one" in said and "make reset" in said and "`secret_key` and" in said
    assert "of this host" not in said


def test_readyz_tells_of_a_host_that_does_not_fit(client, settings, monkeypatch):
    monkeypatch.setattr(installation, "_has_own_database", lambda: False)
    enter_installation(worker="me")
    assert client.get("/readyz").status_code == 200
    settings.SECRET_KEY = "changed"
    default_storage.delete(MARKER)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "VBATCH_SECRET_KEY" in answer.json()["secret_key"]
    assert "VBATCH_S3_BUCKET" in answer.json()["storage"]


def test_readyz_tells_of_a_database_that_was_migrated_further(client):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('jobs', '9999_next', now())"
        )
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "9999_next" in answer.json()["migrations"]


def test_the_system_check_has_ids_and_hints_and_asks_no_database_unbidden(settings):
    enter_installation(worker="me")
    settings.SECRET_KEY = "changed"
    default_storage.delete(MARKER)
    register("old", "a", version="0.9.0")
    assert run_checks(tags=["hosts"]) == []
    found = {error.id: error.hint for error in run_checks(tags=["hosts"], databases=["default"])}
    assert set(found) == {"vbatch.E001", "vbatch.E002", "vbatch.E003"}
    assert all(found.values())
