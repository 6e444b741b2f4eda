"""What is heard of vLLM's parser, and what is said where it cannot be heard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.engines import arguments
from jobs.engines.arguments import check_arguments
from jobs.engines.environment import engine_environment

STUB = Path(__file__).parents[1] / "stub_engine" / "python"


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    engine_environment.cache_clear()
    yield
    engine_environment.cache_clear()


@pytest.fixture
def stub(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VBATCH_STUB_PYTHON", sys.executable)
    settings.ENGINE_PYTHON = str(STUB)


@pytest.mark.parametrize(
    ("engine_args", "error"),
    [
        ("--max-model-len 2048 --enforce-eager", ""),
        ("--max-modellen 2048", "unrecognized arguments: --max-modellen 2048"),
        ("--max-model-len long", "argument --max-model-len: invalid int value: 'long'"),
        ("--max-model-len", "argument --max-model-len: expected one argument"),
        (
            "--enable-auto-tool-choice",
            "Error: --enable-auto-tool-choice requires --tool-call-parser",
        ),
        ("--help", "with these it only prints its help or version, and ends"),
    ],
)
def test_arguments_are_refused_in_the_parsers_own_words(
    stub: None, engine_args: str, error: str
) -> None:
    report = check_arguments(source="/models/x", engine_args=engine_args)
    assert (report.error, report.warning) == (error, "")


@pytest.fixture
def make_python(tmp_path: Path, settings: Any) -> Callable[[str], None]:
    """Make the engine's Python: one that names a vLLM, and does `script` when it is asked."""

    def make(script: str) -> None:
        found = '{"version": "0.32.0", "build": "vllm", "openmp": ""}'
        python = tmp_path / "python"
        python.write_text(
            f"#!/bin/sh\ncase \"$2\" in *cli_args*) {script};; *) echo '{found}';; esac\n"
        )
        python.chmod(0o755)
        settings.ENGINE_PYTHON = str(python)

    return make


def test_without_vllm_they_are_left_to_the_first_load(settings: Any) -> None:
    settings.ENGINE_PYTHON = "/none/python"
    report = check_arguments(source="x", engine_args="--none")
    assert report.error == ""
    assert "no vLLM here" in report.warning and "first loads" in report.warning


def test_a_vllm_that_cannot_be_imported_refuses_nothing(make_python: Callable[..., None]) -> None:
    make_python("echo 'ImportError: libcuda.so.1' >&2; exit 1")
    report = check_arguments(source="x", engine_args="--none")
    assert report.error == ""
    assert "ImportError: libcuda.so.1" in report.warning


def test_a_vllm_that_hangs_is_given_up_with_all_that_it_started(
    make_python: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "TIMEOUT_S", 0.5)
    make_python(f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    started = time.monotonic()
    report = check_arguments(source="x", engine_args="--none")
    assert time.monotonic() - started < 10
    assert (report.error, "said nothing" in report.warning) == ("", True)
    left = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(left) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
