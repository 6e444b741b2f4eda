"""The command line and the environment with which a vLLM server is started."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from django.conf import settings

from jobs.cpu import computes_bfloat16
from jobs.engines.environment import EngineEnvironment

_GIB = 1024**3
_LARGE_GPU_BYTES = 70 * _GIB
# vLLM counts it among the small ones for this, whatever its memory.
_SLOWER_IF_FULL = "a100"
# Nothing of ours that an engine, which may run a model's own code, has any use for.
_SECRETS = ("DATABASE_URL", "VBATCH_SECRET_KEY", "DJANGO_SETTINGS_MODULE")
# These too, where they open the storage in which everybody's files are.
_S3_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def engine_command(
    *,
    python: str,
    name: str,
    aliases: Sequence[str],
    source: str,
    engine_args: str,
    socket: Path,
    gpus: Sequence[int],
    running: int,
) -> list[str]:
    """Return the command that serves `source` on a UNIX socket.

    The operator's own arguments come last, so that they win over ours. Media are fetched only
    from hosts that the operator allowed: a request could else make the engine call addresses
    of the inner network.
    """
    extra = shlex.split(engine_args)
    command = [
        python,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        source,
        "--served-model-name",
        name,
        *aliases,
        "--uds",
        str(socket),
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
        "--allowed-media-domains",
        *(settings.MEDIA_DOMAINS or ["none.invalid"]),
    ]
    if not _has(extra, "--max-num-seqs", "--max_num_seqs"):
        command += ["--max-num-seqs", str(running)]
    if not gpus and not _has(extra, "--enable-chunked-prefill", "--no-enable-chunked-prefill"):
        # On a CPU, vLLM 0.32 dies of a seeded request whose prompt it takes in two parts ("CPU
        # Generator does not use offset"): so it takes each prompt whole.
        command.append("--no-enable-chunked-prefill")
    if not gpus and not _has(extra, "--enforce-eager", "--no-enforce-eager"):
        # Without a C++ compiler nothing can be compiled for a CPU, and the start would fail.
        command += [] if _has_compiler() else ["--enforce-eager"]
    if not gpus and not computes_bfloat16() and not _has(extra, "--dtype"):
        # What most models are kept in, and what such a processor computes several times slower
        # than float32 (docs/performance.md).
        command += ["--dtype", "float32"]
    if len(gpus) > 1 and not _has(extra, "--tensor-parallel-size", "-tp"):
        command += ["--tensor-parallel-size", str(len(gpus))]
    return command + extra


def engine_env(
    *,
    environment: EngineEnvironment,
    command: Sequence[str],
    gpus: Sequence[int],
    folder: Path,
    base: Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of the engine: `base` without secrets, and what makes it fast.

    On a CPU, vLLM as installed cuts PyTorch to one thread; bound threads and Intel's OpenMP
    give half as much again (docs/performance.md). What the operator has set himself stays.
    """
    kept_back = (*_SECRETS, *_S3_SECRETS) if settings.S3_BUCKET else _SECRETS
    env = {key: value for key, value in base.items() if key not in kept_back}
    env["VLLM_NO_USAGE_STATS"] = "1"
    # Where it makes its inner sockets, which a killed one leaves behind.
    env["VLLM_RPC_BASE_PATH"] = str(folder)
    # Else a redirect leads past the hosts that are allowed.
    env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] = "0"
    if gpus:
        # Numbered as NVML numbers them: by itself CUDA puts the fastest first.
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        env["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in gpus)
        return env
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    env.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(str(core) for core in cores))
    env.setdefault("OMP_NUM_THREADS", str(len(cores)))
    env.setdefault("VLLM_CPU_KVCACHE_SPACE", str(cpu_kvcache_gib()))
    if environment.openmp:
        preloads = [p for p in env.get("LD_PRELOAD", "").split(":") if p]
        env["LD_PRELOAD"] = ":".join([environment.openmp, *preloads])
    if _has(command, "--enforce-eager"):
        # Eager or not, vLLM compiles what counts logprobs at the first request that asks for
        # them: all stands still for 14 s, and without a C++ compiler the engine dies of it.
        env.setdefault("TORCHDYNAMO_DISABLE", "1")
    return env


def cpu_kvcache_gib() -> int:
    """Return the size of the CPU engine's KV cache: the setting, or a tenth of the memory."""
    if settings.CPU_KVCACHE_GIB:
        return int(settings.CPU_KVCACHE_GIB)
    return int(max(1, min(16, psutil.virtual_memory().total // (10 * _GIB))))


def max_num_seqs(*, engine_args: str, gpu_memory_bytes: int | None, gpu_name: str = "") -> int:
    """Return how many requests the engine runs at once: as asked for, else by the GPU.

    vLLM says its own default nowhere, so it is always told one. On GPUs these are vLLM's
    defaults for its server; on a CPU twice its 128, which gave a fifth more (docs/performance.md).
    """
    extra = shlex.split(engine_args)
    for index, arg in enumerate(extra):
        name, _, value = arg.replace("_", "-").partition("=")
        if name == "--max-num-seqs":
            return int(value or extra[index + 1])
    if gpu_memory_bytes is None or _SLOWER_IF_FULL in gpu_name.lower():
        return 256
    return 1_024 if gpu_memory_bytes >= _LARGE_GPU_BYTES else 256


def window_size(running: int) -> int:
    """Return how many requests to keep in flight: what the engine runs at once and a quarter.

    The quarter waits inside the engine, so that a finished request is replaced at once.
    """
    return running + max(1, running // 4)


def _has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def _has(args: Sequence[str], *names: str) -> bool:
    return any(arg == name or arg.startswith(f"{name}=") for arg in args for name in names)
