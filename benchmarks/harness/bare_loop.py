"""The yardstick: the fastest plain aiohttp loop over a set of requests, storing nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import uvloop


async def _drain(url: str, bodies: Sequence[bytes], *, window: int, uds: str | None) -> float:
    connector: aiohttp.BaseConnector
    if uds:
        connector = aiohttp.UnixConnector(uds, limit=window)
    else:
        connector = aiohttp.TCPConnector(limit=window)
    left: Iterator[bytes] = iter(bodies)
    headers = {"Content-Type": "application/json"}

    async def worker(session: aiohttp.ClientSession) -> None:
        for body in left:
            async with session.post(url, data=body, headers=headers) as response:
                text = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"HTTP {response.status}: {text[:300]!r}")

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(window)))
        return time.perf_counter() - started


def bare_rate(url: str, bodies: Sequence[bytes], *, window: int, uds: str | None = None) -> float:
    """Send every body with `window` requests in flight; return requests a second.

    `uds` is the UNIX socket to speak over. RuntimeError if one is not answered with 200.
    """
    took_s = uvloop.run(_drain(url, bodies, window=window, uds=uds))
    return len(bodies) / took_s


def main() -> None:
    """Measure in a process of its own, as the product's lane has one; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("requests", type=Path, help="a batch file: one request a line")
    parser.add_argument("--url", required=True)
    parser.add_argument("--uds")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--limit", type=int, default=0, help="only the first so many lines")
    args = parser.parse_args()
    lines = args.requests.read_bytes().splitlines()[: args.limit or None]
    bodies = [json.dumps(json.loads(line)["body"]).encode() for line in lines]
    before_s = time.process_time()
    rate = bare_rate(args.url, bodies, window=args.window, uds=args.uds)
    cpu_us = (time.process_time() - before_s) / len(bodies) * 1e6
    figures = {"requests": len(bodies), "requests_per_s": rate, "cpu_us_per_request": cpu_us}
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
