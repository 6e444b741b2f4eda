"""What can go wrong in a set-up, each with a remedy."""

from __future__ import annotations

import re

NETWORK = "network"
NOT_FOUND = "not found"

# The first pattern that is found wins: a lost network also ends in "no matching distribution".
_REMEDIES: tuple[tuple[str, str, str], ...] = (
    (
        "disk",
        r"No space left on device|Errno 28\b|Disk quota exceeded",
        "The disk is full. Free some space, or put the project on a larger disk, and run again.",
    ),
    (
        "proxy",
        r"ProxyError|407 Proxy Authentication|Tunnel connection failed|Cannot connect to proxy",
        "The proxy does not answer or refuses. Check HTTPS_PROXY (http://user:password@host:port) "
        "and run again.",
    ),
    (
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "The certificate of the package index is not trusted here. Behind a company proxy set "
        "PIP_CERT to the company's certificate file and run again.",
    ),
    (
        NETWORK,
        r"Temporary failure in name resolution|Name or service not known|nodename nor servname"
        r"|Network is unreachable|NewConnectionError|NameResolutionError|ConnectTimeout"
        r"|Connection refused|Connection reset|ReadTimeout|Max retries exceeded|RemoteDisconnected",
        "The package index cannot be reached. Check the network; behind a proxy set HTTPS_PROXY; "
        "with an index of your own set PIP_INDEX_URL. Then run again: what was fetched is kept.",
    ),
    (
        "hash",
        r"DO NOT MATCH THE HASHES|Hashes are required",
        "A downloaded file is not the one that was pinned. Empty the cache (python -m pip cache "
        "purge) and run again; if it stays, your index serves other files than the public one.",
    ),
    (
        NOT_FOUND,
        r"No matching distribution found|Could not find a version that satisfies",
        "The package index has no fitting file for this machine, or it cannot be reached. vbatch "
        "runs on Linux x86_64 and aarch64 (glibc) with Python 3.11 to 3.14, and on macOS without "
        "an engine; a mirror of your own must carry the package named in the log.",
    ),
    (
        "permission",
        r"Permission denied|Errno 13\b",
        "A file may not be written. Check who owns the project folder, or remove .venv, and run "
        "again.",
    ),
    (
        "memory",
        r"\bMemoryError\b|Cannot allocate memory|for want of memory",
        "The machine ran out of memory. Close other programs and run again.",
    ),
)


class SetupError(Exception):
    """A step that failed: what happened, what to do about it, and the end of the log."""

    def __init__(self, what: str, remedy: str, *, kind: str = "", tail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.kind = kind
        self.tail = tail


# pip says these on every run.
_CHATTER = re.compile(r"\s*$|Ignoring \S+: markers|Looking in |WARNING: Location .* is ignored")


def explain(what: str, output: str, *, tail_lines: int = 12) -> SetupError:
    """Turn the output of a failed command into an error with a remedy."""
    lines = [line[:200] for line in output.splitlines() if not _CHATTER.match(line)]
    tail = "\n".join(lines[-tail_lines:])
    for kind, pattern, remedy in _REMEDIES:
        if re.search(pattern, output):
            return SetupError(what, remedy, kind=kind, tail=tail)
    return SetupError(what, "The log says more; run again once it is mended.", tail=tail)
