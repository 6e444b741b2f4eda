"""Sending webhooks: signed, each to an address that was checked, none held up by another."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from standardwebhooks import Webhook

from jobs.addresses import AllowList, may_call, why_not
from jobs.services.webhooks import (
    Due,
    Outcome,
    announce_events,
    claim_deliveries,
    finish_delivery,
)

log = structlog.get_logger()

AT_ONCE = 32
PER_HOST = 4
TRY_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
# How much of an answer is read: only its status counts.
ANSWER_BYTES = 4_096
# A task of the control cluster must end; what is left is rung for again.
RUN_S = 20.0
LOCK = 0x7662_7765_6268  # One sender at a time in a database.


class Refused(OSError):
    """The host stands for no address that may be called."""


def deliver_due() -> int:
    """Announce and deliver what is due; return the number of tries.

    One sender is at work in a database at a time, so that doubled messages cost nothing. It
    holds a lock of its session, which PostgreSQL gives free when it dies.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhook-db") as thread:
        try:
            if not thread.submit(_lock).result():
                return 0
            try:
                return asyncio.run(Sender(thread).run())
            finally:
                thread.submit(_unlock).result()
        finally:
            thread.submit(_close_connection).result()


def _lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _unlock() -> None:
    """Give the lock back at once: the connection's server process ends a moment after it."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    except (DatabaseError, InterfaceError) as error:
        # The connection is lost, and the lock goes with it.
        log.warning("webhook_lock_lost", error=str(error).strip()[:200])


def _close_connection() -> None:
    connection.close()


class Sender:
    """Keeps up to AT_ONCE tries on their way until nothing is due."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._allowed = AllowList.read(settings.WEBHOOK_ALLOW)

    async def run(self) -> int:
        tries = 0
        until = time.monotonic() + RUN_S
        on_the_way: dict[asyncio.Task[None], str] = {}
        while True:
            if time.monotonic() < until:
                await self._db(announce_events)
                for due in await self._claim(list(on_the_way.values())):
                    tries += 1
                    on_the_way[asyncio.create_task(self._try(due))] = host_of(due.url)
            if not on_the_way:
                return tries
            done, _ = await asyncio.wait(
                on_the_way, timeout=1.0, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del on_the_way[task]
                task.result()

    async def _claim(self, hosts: list[str]) -> list[Due]:
        if len(hosts) >= AT_ONCE:
            return []
        # A host with tries on their way has its places taken until they are done.
        found: list[Due] = await self._db(
            claim_deliveries,
            limit=AT_ONCE - len(hosts),
            per_host=PER_HOST,
            busy=sorted(set(hosts)),
        )
        return found

    async def _db(self, call: Callable[..., Any], **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, functools.partial(call, **kwargs))

    async def _try(self, due: Due) -> None:
        started = time.monotonic()
        outcome = await self._send(due)
        took_ms = int((time.monotonic() - started) * 1000)
        await self._db(finish_delivery, due=due, outcome=replace(outcome, duration_ms=took_ms))

    async def _send(self, due: Due) -> Outcome:
        reason = why_not(due.url, self._allowed)
        if reason is not None:
            return Outcome(error=f"Not called: {reason}", refused=True)
        resolver = CheckedResolver(self._allowed)
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=1
        )
        try:
            async with (
                asyncio.timeout(TRY_TIMEOUT_S),
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                ) as session,
                session.post(
                    due.url, data=due.payload, headers=headers_of(due), allow_redirects=False
                ) as response,
            ):
                await response.content.read(ANSWER_BYTES)
                return _outcome(response)
        except TimeoutError:
            return Outcome(error=f"no answer within {TRY_TIMEOUT_S:g} seconds")
        except aiohttp.InvalidURL as error:
            return Outcome(error=f"Not called: {error}", refused=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if resolver.refused:
                return Outcome(error=resolver.refused, refused=True)
            return Outcome(error=f"{type(error).__name__}: {error}")


def headers_of(due: Due) -> dict[str, str]:
    """Return the headers of a try, with the signature over exactly the bytes of its payload."""
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "vbatch-webhooks",
        "webhook-id": due.public_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(due.secret).sign(due.public_id, now, due.payload.decode()),
    }


def host_of(url: str) -> str:
    """Return the host of an address as the claim names it."""
    return url.partition("//")[2].partition("/")[0]


class CheckedResolver(AbstractResolver):
    """Gives a connection only addresses that may be called.

    What is connected to is what was checked: nothing is looked up in between. Addresses in
    figures never come here; those are checked before.
    """

    def __init__(self, allowed: AllowList) -> None:
        self.refused = ""
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await look_up(host, port)
        if self._allowed.has_name(host):
            checked = found
        else:
            checked = [one for one in found if may_call(ip_address(one[1]), self._allowed)]
        if found and not checked:
            self.refused = (
                f"Not called: {host} stands for {found[0][1]}, a private address, which the "
                "operator has not allowed in VBATCH_WEBHOOK_ALLOW"
            )
            raise Refused(self.refused)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, address in checked
        ]

    async def close(self) -> None:
        """Nothing is kept."""


async def look_up(host: str, port: int) -> list[tuple[int, str]]:
    """Return the addresses that a name stands for, each with its family."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(where[0]).partition("%")[0]) for family, _, _, _, where in found]


def _outcome(response: aiohttp.ClientResponse) -> Outcome:
    error = ""
    if 300 <= response.status < 400:
        error = f"HTTP {response.status}: redirects are not followed"
    after = response.headers.get("Retry-After", "")
    return Outcome(
        status=response.status,
        error=error,
        retry_after_s=float(after) if after.isascii() and after.isdigit() else None,
    )
