"""Reading GPUs through NVML; the only importer of pynvml. Any call may hang: ask from a process
that may be killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml


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
    reading: dict[str, Any] = {"index": index, "name": "", "driver": driver, "error": ""}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return {**reading, "error": str(error)}
    memory = _or_none(pynvml.nvmlDeviceGetMemoryInfo, handle)
    use = _or_none(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _or_none(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit = _or_none(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return {
        **reading,
        "name": str(_or_none(pynvml.nvmlDeviceGetName, handle) or ""),
        "uuid": str(_or_none(pynvml.nvmlDeviceGetUUID, handle) or ""),
        "utilization_percent": use.gpu if use else None,
        "memory_used_bytes": memory.used if memory else None,
        "memory_total_bytes": memory.total if memory else None,
        "temperature_c": _or_none(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        "power_w": power / 1000 if power is not None else None,
        "power_limit_w": limit / 1000 if limit is not None else None,
    }


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
