"""Which engine a machine gets, how a failed command is explained, and an old Python's answer."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from vbatch_site import bootstrap
from vbatch_site.setup import machine, problems, venv
from vbatch_site.setup.machine import Engine, choose_engine


@pytest.mark.parametrize(
    ("system", "driver", "environ", "engine"),
    [
        ("Linux", None, {}, Engine.CPU),
        ("Linux", "590.12.01", {}, Engine.GPU),
        ("Linux", "present", {}, Engine.GPU),
        ("Darwin", None, {}, Engine.NONE),
        ("Linux", "590.12.01", {"VBATCH_ENGINE_BUILD": "cpu"}, Engine.CPU),
        ("Linux", None, {"VBATCH_ENGINE_BUILD": "gpu"}, Engine.GPU),
        ("Linux", "590.12.01", {"VBATCH_ENGINE_PYTHON": "/opt/vllm/bin/python"}, Engine.NONE),
    ],
)
def test_the_engine_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    driver: str | None,
    environ: dict[str, str],
    engine: Engine,
) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    monkeypatch.setattr(machine, "find_nvidia_driver", lambda: driver)
    choice = choose_engine(environ)
    assert choice.engine is engine
    assert not choice.warning


def test_an_old_driver_is_said_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine, "find_nvidia_driver", lambda: "535.104.05")
    choice = choose_engine({})
    assert choice.engine is Engine.GPU
    assert "535.104.05" in choice.warning


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk"),
        ("ProxyError('Cannot connect to proxy.', NewConnectionError('refused'))", "proxy"),
        (
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate')",
            "certificate",
        ),
        (
            "WARNING: Retrying: NameResolutionError: Failed to resolve\n"
            "ERROR: No matching distribution found for alpha==1.0",
            "network",
        ),
        ("ERROR: No matching distribution found for alpha==1.0", "not found"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE", "hash"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "permission"),
        ("Killed from outside, most likely by the system for want of memory.", "memory"),
        ("something new", ""),
    ],
)
def test_a_failed_command_is_explained(output: str, kind: str) -> None:
    error = problems.explain("Installing failed.", output)
    assert error.kind == kind
    assert error.remedy
    assert output.splitlines()[-1] in error.tail


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    machine.check_disk(tmp_path / "not" / "there", needed_mb=1)
    with pytest.raises(problems.SetupError, match="GB are needed"):
        machine.check_disk(tmp_path, needed_mb=10**9)


def test_a_python_without_venv_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    venv.check_venv_module()
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(problems.SetupError) as caught:
        venv.check_venv_module()
    assert f"python3.{sys.version_info[1]}-venv" in caught.value.remedy


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed, this is 3\.10"):
        bootstrap.main()  # type: ignore[no-untyped-call]


def test_an_old_python_can_read_the_file_that_tells_it() -> None:
    source = Path(bootstrap.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    # Annotations and f-strings are what old Pythons stumble over.
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.AnnAssign, ast.JoinedStr))
    assert "__future__" not in source
