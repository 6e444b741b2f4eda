"""GPUs as the real pynvml reads them, over a stand-in for the library of the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nvml_stub.build import build_library

ROOT = Path(__file__).parent.parent.parent
_READ = """
import json, os
from jobs.nvml import NoGpu, read_gpus
try:
    print(json.dumps({"gpus": read_gpus(), "pid": os.getpid()}))
except NoGpu as error:
    print(json.dumps({"none": str(error)}))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def read(library: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def read(*scenario: str, timeout_s: float = 30.0) -> dict[str, Any]:
        (tmp_path / "scenario").write_text("\n".join(scenario) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", _READ],
            cwd=ROOT,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(library),
                "NVML_STUB": str(tmp_path / "scenario"),
            },
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return read


def test_everything_that_a_gpu_tells_is_read(read):
    answer = read("ok", "ok")
    first, second = answer["gpus"]
    assert first == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-00000000",
        "driver": "580.65.06",
        "error": "",
        "utilization_percent": 97,
        "memory_used_bytes": 10 << 30,
        "memory_total_bytes": 80 << 30,
        "temperature_c": 61,
        "power_w": 412.5,
        "power_limit_w": 700.0,
        "clock_sm_mhz": 1_755,
        "clock_memory_mhz": 2_619,
        "throttle_reasons": ["power limit", "heat"],
        "energy_j": 123_456.789,
        # The one that computes and draws stands there once; of the other, little is known.
        "processes": [
            {"pid": answer["pid"], "name": first["processes"][0]["name"], "memory_bytes": 9 << 30},
            {"pid": 4_000_000, "name": "", "memory_bytes": None},
        ],
    }
    assert "python" in first["processes"][0]["name"]
    # Idling is no throttling.
    assert (second["index"], second["throttle_reasons"]) == (1, [])


def test_a_lost_gpu_takes_no_other_with_it(read):
    found = read("ok", "lost", "ok")["gpus"]
    assert [gpu["error"] for gpu in found] == ["", "GPU is lost", ""]
    assert found[1]["temperature_c"] is None and found[1]["processes"] is None
    assert found[2]["temperature_c"] == 63


def test_what_a_gpu_does_not_support_is_null(read):
    (gpu,) = read("bare")["gpus"]
    assert gpu["error"] == "" and gpu["temperature_c"] == 61
    unknown = {name for name, value in gpu.items() if value is None}
    assert unknown == {
        "utilization_percent",
        "memory_used_bytes",
        "memory_total_bytes",
        "power_w",
        "power_limit_w",
        "clock_sm_mhz",
        "clock_memory_mhz",
        "throttle_reasons",
        "energy_j",
        "processes",
    }


def test_a_host_without_gpus_has_none(read):
    assert read()["gpus"] == []


@pytest.mark.parametrize(("code", "words"), [(9, "Driver Not Loaded"), (18, "version mismatch")])
def test_a_driver_that_does_not_work_is_told(read, code, words):
    assert words in read("ok", f"init {code}")["none"]


def test_a_call_may_hang(read):
    with pytest.raises(subprocess.TimeoutExpired):
        read("ok", "hang", timeout_s=3.0)
