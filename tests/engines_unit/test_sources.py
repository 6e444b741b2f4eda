"""What is found out about a model's source before an engine loads it."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from jobs.engines.sources import check_there, fits, inspect_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(bytes(1_000))
    (tmp_path / "b.safetensors").write_bytes(bytes(500))
    (tmp_path / "tokenizer.json").write_bytes(bytes(9_000))
    return tmp_path


def test_a_folder_is_weighed(folder: Path) -> None:
    report = inspect_source(str(folder))
    assert (report.weight_bytes, report.errors, report.warnings) == (1_500, [], [])


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert inspect_source(str(missing)).errors == [f"There is no folder {missing}."]


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path: Path) -> None:
    errors = inspect_source(str(tmp_path)).errors
    assert "holds no config.json" in errors[0]
    assert "holds no weights" in errors[1]


def test_the_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert inspect_source(f"~/{folder.name}").weight_bytes == 1_500


@pytest.mark.parametrize("source", ["two words", "a/b/c", "owner/", "http://hub/model"])
def test_what_is_neither_folder_nor_hub_id_is_an_error(source: str) -> None:
    assert "neither a folder nor a hub id" in inspect_source(source).errors[0]


def test_a_path_that_has_gone_is_told_before_the_engine_starts(folder: Path) -> None:
    check_there(str(folder))
    check_there("owner/name")
    with pytest.raises(FileNotFoundError, match=f"There is no folder {folder}/gone"):
        check_there(f"{folder}/gone")


# --- The hub ---------------------------------------------------------------------------------


class Hub:
    """Answers in the hub's place, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[urllib.request.Request] = []
        self.answer: Callable[[], io.BytesIO] = lambda: io.BytesIO(b"{}")

    def says(self, value: Any) -> None:
        self.answer = lambda: io.BytesIO(json.dumps(value).encode())

    def fails(self, error: Exception) -> None:
        def answer() -> io.BytesIO:
            raise error

        self.answer = answer

    def refuses(self, status: int) -> None:
        self.fails(urllib.error.HTTPError("url", status, "no", Message(), None))

    def urlopen(self, request: urllib.request.Request, timeout: float) -> io.BytesIO:
        assert timeout < 60
        self.asked.append(request)
        return self.answer()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    asked = Hub()
    monkeypatch.setattr(urllib.request, "urlopen", asked.urlopen)
    return asked


def test_a_hub_model_is_weighed_by_its_safetensors(hub: Hub) -> None:
    files = [
        {"rfilename": "model-1.safetensors", "size": 700},
        {"rfilename": "model-2.safetensors", "size": 300},
        {"rfilename": "pytorch_model.bin", "size": 1_000},
    ]
    hub.says({"gated": False, "siblings": files})
    report = inspect_source("owner/name")
    assert (report.weight_bytes, report.errors, report.warnings) == (1_000, [], [])
    assert hub.asked[0].full_url == "https://huggingface.co/api/models/owner/name?blobs=true"
    assert hub.asked[0].get_header("Authorization") is None


def test_a_gated_model_needs_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.says({"gated": "manual", "siblings": []})
    assert "gated" in inspect_source("owner/name").errors[0]
    monkeypatch.setenv("HF_TOKEN", "hf_1")
    assert inspect_source("owner/name").errors == []
    assert hub.asked[1].get_header("Authorization") == "Bearer hf_1"


@pytest.mark.parametrize(("status", "told"), [(404, "knows no model"), (401, "HF_TOKEN")])
def test_a_model_that_the_hub_does_not_show_is_an_error(hub: Hub, status: int, told: str) -> None:
    hub.refuses(status)
    assert told in inspect_source("owner/name").errors[0]


def test_a_hub_that_cannot_be_asked_is_no_error(hub: Hub) -> None:
    hub.refuses(503)
    report = inspect_source("owner/name")
    assert (report.errors, report.warnings) == ([], ["The hub answered with HTTP 503."])
    hub.fails(OSError("no route"))
    report = inspect_source("owner/name")
    assert (report.errors, report.warnings) == ([], ["The hub could not be asked: no route."])


def test_offline_the_hub_is_not_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = inspect_source("owner/name")
    assert (report.errors, len(report.warnings), hub.asked) == ([], 1, [])


def test_weights_need_a_fifth_more_than_their_size() -> None:
    assert fits(79, 100)
    assert not fits(90, 100)
