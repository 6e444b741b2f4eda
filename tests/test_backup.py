"""What `backup` and `restore` refuse; tests/whole/test_backup.py saves and restores a system."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.core.files.storage import InMemoryStorage
from django.core.management import CommandError, call_command

from jobs.services.projects import get_project
from vbatch_site import backup


@pytest.fixture
def finished(tmp_path):
    """A folder that says that it holds a backup."""
    said = {"made_at": "then", "version": "1", "database_bytes": 1, "files": 0, "file_bytes": 0}
    (tmp_path / "files").mkdir()
    (tmp_path / "backup.json").write_text(json.dumps(said))
    return tmp_path


def _refused(told: str, *command: str) -> None:
    with pytest.raises(CommandError, match=told):
        call_command(*command)


def test_a_folder_that_is_not_empty(finished):
    _refused("is not empty", "backup", str(finished))
    assert sorted(path.name for path in finished.iterdir()) == ["backup.json", "files"]


def test_a_backup_that_was_cut_off(finished):
    (finished / "backup.json").unlink()
    _refused("no finished backup", "restore", str(finished))
    _refused("no finished backup", "restore", str(finished / "nowhere"))


def test_an_installation_that_runs(finished, monkeypatch):
    monkeypatch.setattr(backup, "find_running", lambda name: [1] * (name == "runweb"))
    _refused("Still running: runweb", "restore", str(finished), "--replace")


def test_an_installation_that_holds_data(db, finished):
    get_project()
    _refused("There is data", "restore", str(finished))


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_files_that_lie_elsewhere(tmp_path, monkeypatch, command):
    monkeypatch.setattr(backup, "default_storage", InMemoryStorage())
    _refused("docs/operating.md", command, str(tmp_path / "new"))


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_database_of_ones_own(tmp_path, monkeypatch, command):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    _refused("docs/operating.md", command, str(tmp_path / "new"))
