"""A revision changes with whatever changes the answers, and is empty where that is not known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.engines.revision import model_revision

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "a.safetensors").write_bytes(bytes(1_000))
    (path / "chat_template.jinja").write_text("{{ messages }}")
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a hub's files, with one model in it."""
    refs = tmp_path / "hub" / "models--org--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(f"{COMMIT}\n")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return refs


def test_a_folder_has_the_same_revision_each_time(folder: Path) -> None:
    revision = model_revision(str(folder), "")
    assert revision.startswith("files-")
    (folder / "notes.log").write_text("written while it runs")
    assert model_revision(str(folder), "") == revision


@pytest.mark.parametrize("name", ["config.json", "a.safetensors", "chat_template.jinja"])
def test_each_of_its_files_counts(folder: Path, name: str) -> None:
    revision = model_revision(str(folder), "")
    stat = (folder / name).stat()
    (folder / name).write_bytes(b"!" * stat.st_size)
    os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert model_revision(str(folder), "") != revision


def test_a_folder_without_a_model_has_none(tmp_path: Path) -> None:
    assert model_revision(str(tmp_path), "") == ""
    assert model_revision(str(tmp_path / "none"), "") == ""


def test_a_hub_model_is_known_by_its_commit_in_the_cache(hub: Path) -> None:
    assert model_revision("org/model", "") == COMMIT
    assert model_revision("org/unknown", "") == ""


@pytest.mark.parametrize("words", ["--revision {}", "--revision={}", "--revision x --revision {}"])
def test_a_commit_that_is_asked_for_needs_no_cache(hub: Path, words: str) -> None:
    assert model_revision("org/unknown", words.format(OTHER)) == OTHER


def test_a_branch_is_looked_up(hub: Path) -> None:
    (hub / "v2").write_text(OTHER)
    assert model_revision("org/model", "--revision v2") == OTHER
    assert model_revision("org/model", "--revision v3") == ""


def test_another_cache_may_be_named(hub: Path, tmp_path: Path) -> None:
    assert model_revision("org/model", f"--download-dir {tmp_path}") == ""


@pytest.mark.parametrize("words", ["--lora-modules a={}", '--lora-modules \'{{"path":"{}"}}\''])
def test_an_adapter_counts_with_the_model(folder: Path, tmp_path: Path, words: str) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(bytes(10))
    args = words.format(adapter)
    revision = model_revision(str(folder), args)
    assert revision != model_revision(str(folder), "")
    weights.write_bytes(bytes(20))
    assert model_revision(str(folder), args) not in ("", revision)
    assert len(revision) <= 100


def test_arguments_that_cannot_be_read_give_none(folder: Path) -> None:
    assert model_revision(str(folder), "--x 'open") == ""
