"""Reading GPUs through NVML; the only importer of pynvml. Any call may hang: ask from a process
that may be killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pynvml

# What a GPU that cannot be read has none of.
_FIGURES = (
    "utilization_percent",
    "memory_used_bytes",
    "memory_total_bytes",
    "temperature_c",
    "power_w",
    "power_limit_w",
    "clock_sm_mhz",
    "clock_memory_mhz",
    "throttle_reasons",
    "energy_j",
    "processes",
)
# What holds the clocks down; idling and clocks that were set on purpose are no trouble.
_REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power limit",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "heat (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}
THROTTLE_REASONS = tuple(_REASONS.values())


class NoGpu(Exception):
    """There is no NVIDIA driver, or it cannot be asked; the message says which."""


def read_gpus() -> list[dict[str, Any]]:
    """Return a reading of each GPU, with the columns of `Gpu`; a field that cannot be read is
    None, and a GPU that cannot be read at all has its `error` set. Raises NoGpu.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoGpu(_driver_note(error)) from error
    try:
        driver = str(_or_none(pynvml.nvmlSystemGetDriverVersion) or "")
        return [_read(index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise NoGpu(f"The NVIDIA driver does not answer: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _read(index: int, driver: str) -> dict[str, Any]:
    # Of a GPU that is lost, the name stays what it was.
    reading: dict[str, Any] = {"index": index, "driver": driver, "error": ""}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        # The one question that every GPU answers: whoever cannot is lost.
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
    except pynvml.NVMLError as error:
        return {**reading, **dict.fromkeys(_FIGURES), "error": str(error)}
    memory = _or_none(pynvml.nvmlDeviceGetMemoryInfo, handle)
    use = _or_none(pynvml.nvmlDeviceGetUtilizationRates, handle)
    energy_mj = _or_none(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return {
        **reading,
        "name": str(_or_none(pynvml.nvmlDeviceGetName, handle) or ""),
        "uuid": uuid,
        "utilization_percent": use.gpu if use else None,
        "memory_used_bytes": memory.used if memory else None,
        "memory_total_bytes": memory.total if memory else None,
        "temperature_c": _or_none(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        "power_w": _watts(_or_none(pynvml.nvmlDeviceGetPowerUsage, handle)),
        "power_limit_w": _watts(_or_none(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        "clock_sm_mhz": _or_none(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "clock_memory_mhz": _or_none(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "throttle_reasons": _throttle_reasons(handle),
        "energy_j": energy_mj / 1000 if energy_mj is not None else None,
        "processes": _processes(handle),
    }


def _watts(milliwatts: int | None) -> float | None:
    return milliwatts / 1000 if milliwatts is not None else None


def _throttle_reasons(handle: Any) -> list[str] | None:
    bits = _or_none(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return None if bits is None else [words for bit, words in _REASONS.items() if bits & bit]


def _processes(handle: Any) -> list[dict[str, Any]] | None:
    """Return who uses the GPU; a process that computes and draws stands there once."""
    found: dict[int, dict[str, Any]] = {}
    is_known = False
    for call in (
        pynvml.nvmlDeviceGetComputeRunningProcesses,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        running = _or_none(call, handle)
        is_known = is_known or running is not None
        for process in running or []:
            found[process.pid] = {
                "pid": process.pid,
                "name": _process_name(process.pid),
                "memory_bytes": process.usedGpuMemory,
            }
    return [found[pid] for pid in sorted(found)] if is_known else None


def _process_name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return ""  # Of another container, or gone by now.


def _or_none(call: Callable[..., Any], *args: Any) -> Any:
    """Call NVML; None where this GPU or driver does not support the question."""
    try:
        return call(*args)
    except pynvml.NVMLError:
        return None


def _driver_note(error: pynvml.NVMLError) -> str:
    if isinstance(error, pynvml.NVMLError_LibraryNotFound):
        return "No NVIDIA driver on this host."
    return f"The NVIDIA driver cannot be used: {error}"
