"""The stub's server command: vLLM's flags, its start as its log tells it, and its two processes."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from vllm import __version__
from vllm.stub.engine import Engine
from vllm.stub.http import Exchange
from vllm.stub.plan import Plan, PlanFile

try:
    from uvloop import run
except ImportError:
    from asyncio import run

_EXIT_AFTER_CORE_DIED_S = 0.5


def main() -> None:
    """Start as vLLM does and serve until a signal comes or the core dies."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--uds")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    # All other flags of vLLM are taken and ignored.
    args, _ = parser.parse_known_args()
    if not args.model.is_dir():
        sys.exit(f"OSError: {args.model} is not a local folder")
    plan = PlanFile(args.model).plan
    if plan.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    core = _start(args.model, plan)
    names = args.served_model_name or [str(args.model)]
    try:
        run(_serve(args, names, core, plan))
    finally:
        core.kill()
        core.wait()


def _say(text: str, *, who: str = "APIServer", pid: int = 0) -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    print(f"({who} pid={pid or os.getpid()}) INFO {stamp} {text}", file=sys.stderr, flush=True)


def _start(folder: Path, plan: Plan) -> subprocess.Popen[bytes]:
    """Go through the phases of a start; return the child that stands for the EngineCore.

    The lines are those that vLLM 0.32.0 prints, in their order.
    """
    starts = folder / "starts.log"
    earlier = len(starts.read_bytes().splitlines()) if starts.exists() else 0
    with starts.open("a") as file:
        file.write(f"{time.time():.6f} {os.getpid()}\n")
    _say(f"[api_utils.py:347]   ▄▄ ▄█ █     █     █ ▀▄▀ █  version {__version__}")
    _say("[model.py:733] Resolved architecture: LlamaForCausalLM")
    _say("[model.py:2152] Using max model len 2048")
    # Like vLLM's, a process of its own in the same group, which outlives a SIGKILL of the server,
    # and whose environment the kernel shows only with SPT_NOENV set, since it renames itself.
    sleep = shutil.which("sleep") or "/bin/sleep"
    env = dict(os.environ) if "SPT_NOENV" in os.environ else {}
    core = subprocess.Popen(["VLLM::EngineCore", "1000000000"], executable=sleep, env=env)

    def core_says(text: str, *, who: str = "EngineCore") -> None:
        _say(text, who=who, pid=core.pid)
        time.sleep(plan.start_delay_s / 5)

    core_says(f"[core.py:133] Initializing a V1 LLM engine (v{__version__}) with config: model")
    core_says(f"[cpu_model_runner.py:68] Starting to load model {folder}...", who="Worker")
    if plan.start_fails and (plan.start_fails_times is None or earlier < plan.start_fails_times):
        print(plan.start_fails, file=sys.stderr, flush=True)
        core.kill()
        core.wait()
        sys.exit(1)
    shards = "Loading safetensors checkpoint shards: "
    print(f"{shards}  0% Completed | 0/1 [00:00<?, ?it/s]", file=sys.stderr)
    print(f"{shards}100% Completed | 1/1 [00:00<00:00, 25.40it/s]", file=sys.stderr, flush=True)
    core_says("[default_loader.py:501] Loading weights took 0.05 seconds", who="Worker")
    core_says(
        "[kv_cache_utils.py:2327] CPU KV cache size: 93,184 tokens, "
        "Maximum concurrency for 2,048 tokens per request: 45.50x"
    )
    core_says("[core.py:402] init engine (profile, create kv cache, warmup model) took 0.42 s")
    return core


async def _serve(
    args: argparse.Namespace, names: list[str], core: subprocess.Popen[bytes], plan: Plan
) -> None:
    loop = asyncio.get_running_loop()
    engine = Engine(folder=args.model, names=names, core_pid=core.pid)
    ended = asyncio.Event()
    failed = False
    if not plan.ignore_sigterm:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, ended.set)

    def core_ended() -> None:
        nonlocal failed
        if not ended.is_set():
            failed = True
            _say("[async_llm.py:600] AsyncLLM output_handler failed: EngineDeadError")
            engine.core_died()
            loop.call_later(_EXIT_AFTER_CORE_DIED_S, ended.set)

    def watch() -> None:
        core.wait()
        if not loop.is_closed():
            loop.call_soon_threadsafe(core_ended)

    threading.Thread(target=watch, daemon=True).start()
    refresh = asyncio.create_task(_refresh(engine))

    def exchange() -> Exchange:
        return Exchange(engine.handle)

    if args.uds:
        Path(args.uds).unlink(missing_ok=True)
        server = await loop.create_unix_server(exchange, args.uds, backlog=2048)
        where = f"unix:{args.uds}"
    else:
        server = await loop.create_server(exchange, args.host, args.port, backlog=2048)
        where = f"http://{args.host}:{server.sockets[0].getsockname()[1]}"
    _say(f"[entry.py:140] Starting vLLM server on {where}")
    print(f"INFO:     Started server process [{os.getpid()}]", file=sys.stderr)
    print("INFO:     Waiting for application startup.", file=sys.stderr)
    print("INFO:     Application startup complete.", file=sys.stderr, flush=True)
    await ended.wait()
    refresh.cancel()
    server.close()
    if failed:
        raise SystemExit(1)


async def _refresh(engine: Engine) -> None:
    while True:
        await asyncio.sleep(0.1)
        engine.plans.refresh()


if __name__ == "__main__":
    main()
