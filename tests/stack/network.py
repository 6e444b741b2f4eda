"""Hosts in network namespaces of their own, each joined to the database's by a cable of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from tests.stack.product import Stack
from vbatch_site.embedded_db import ensure_db, stop_db

PORT = 5432


@dataclass(frozen=True)
class Cable:
    """A namespace and the pair of interfaces between it and the namespace of the test."""

    namespace: str
    near: str
    far: str
    near_address: str
    far_address: str

    @property
    def prefix(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]

    @property
    def database_url(self) -> str:
        return f"postgresql://vbatch@{self.near_address}:{PORT}/vbatch"

    def pull(self) -> None:
        """Let nothing through any more, and tell neither side."""
        _ip("link", "set", self.near, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self.near, "up")


def why_no_namespaces() -> str:
    """Return why network namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the command `ip` (iproute2)"
    try:
        with cables(1):
            pass
    except RuntimeError as error:
        return f"network namespaces cannot be made (CAP_NET_ADMIN?): {error}"
    return ""


@contextmanager
def cables(count: int) -> Iterator[list[Cable]]:
    """Make namespaces with a cable each; all of it is gone at the end."""
    made: list[Cable] = []
    net = f"10.213.{os.getpid() % 250}"
    try:
        for number in range(count):
            name = f"vb{os.getpid()}n{number}"
            cable = Cable(
                namespace=name,
                near=f"{name}a",
                far=f"{name}b",
                near_address=f"{net}.{4 * number + 1}",
                far_address=f"{net}.{4 * number + 2}",
            )
            _ip("netns", "add", name)
            made.append(cable)
            _ip("link", "add", cable.near, "type", "veth", "peer", "name", cable.far)
            _ip("link", "set", cable.far, "netns", name)
            _ip("addr", "add", f"{cable.near_address}/30", "dev", cable.near)
            _ip("link", "set", cable.near, "up")
            _ip("-n", name, "addr", "add", f"{cable.far_address}/30", "dev", cable.far)
            _ip("-n", name, "link", "set", cable.far, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for cable in made:
            # Its end of the pair goes with it, and the pair with that.
            _ip("netns", "del", cable.namespace)
            subprocess.run(["ip", "link", "del", cable.near], capture_output=True)


def listen_on(stack: Stack, found: list[Cable]) -> None:
    """Let the stack's database listen on the near ends, for the far ends alone."""
    rules = ["local all all peer map=vbatch"]
    rules += [f"host all all {cable.far_address}/32 trust" for cable in found]
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()
        assert folder is not None
        hba = f"{folder[0]}/with-hosts.conf"
        values = ", ".join(f"({number}, '{rule}')" for number, rule in enumerate(rules))
        # Written by the server, which may be of another account than the test.
        connection.execute(
            f"COPY (SELECT rule FROM (VALUES {values}) r(n, rule) ORDER BY n) TO '{hba}'"
        )
        connection.execute(f"ALTER SYSTEM SET hba_file = '{hba}'")
        addresses = ",".join(cable.near_address for cable in found)
        connection.execute(f"ALTER SYSTEM SET listen_addresses = '{addresses}'")
    stop_db(stack.data_dir)
    stack.database_url = ensure_db(stack.data_dir)


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")
