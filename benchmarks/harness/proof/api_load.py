"""Asks the API so many times a second, whether it keeps up or not, and times each answer.

Run as a process of its own; reads nothing, prints JSON. A request that could not be sent in time
counts from the moment when it should have been, so a server that stalls cannot hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

import aiohttp
import uvloop

from benchmarks.harness.proof.results import percentile

# Of a hundred requests, so many of each.
MIX = {
    "/v1/batches/{batch}": 50,
    "/v1/batches?limit=20": 20,
    "/v1/files?limit=20": 15,
    "/v1/models": 15,
}


async def ask(
    url: str, key: str, *, batches: Sequence[str], rate: float, seconds: float
) -> dict[str, object]:
    """Send the mix evenly over the time; return the times in ms and how many failed."""
    draw = random.Random(0)
    took_ms: list[float] = []
    statuses: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        url, connector=connector, headers=headers, timeout=timeout
    ) as session:

        async def one(path: str, due: float) -> None:
            try:
                async with session.get(path) as response:
                    await response.read()
                    statuses[str(response.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                statuses[type(error).__name__] += 1
            took_ms.append((time.perf_counter() - due) * 1000)

        begun = time.perf_counter()
        tasks = []
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            (form,) = draw.choices(list(MIX), weights=list(MIX.values()))
            tasks.append(asyncio.create_task(one(form.format(batch=draw.choice(batches)), due)))
        await asyncio.gather(*tasks)
        whole_s = time.perf_counter() - begun
    return {
        "requests": len(took_ms),
        "answered_per_s": len(took_ms) / whole_s,
        "statuses": dict(statuses),
        "failed": sum(count for status, count in statuses.items() if status != "200"),
        "p50_ms": percentile(took_ms, 0.5),
        "p99_ms": percentile(took_ms, 0.99),
        "worst_ms": max(took_ms),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("batches", nargs="+")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    found = uvloop.run(
        ask(args.url, args.key, batches=args.batches, rate=args.rate, seconds=args.seconds)
    )
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
