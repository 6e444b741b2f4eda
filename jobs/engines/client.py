"""Asking an OpenAI-compatible server, over a UNIX socket or a URL, with bodies as bytes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import TracebackType

import aiohttp
import msgspec
import yarl

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
# Counters of vLLM's metrics, one line for each of its engine cores.
_TOKENS = re.compile(r"^vllm:(?:prompt|generation)_tokens_total\{[^}]*\} (\S+)", re.MULTILINE)


class ConnectionLost(Exception):
    """The server could not be reached, or went away before its answer was whole."""


class NotSendable(Exception):
    """The request cannot be put on the wire: its body, or the endpoint's address or key."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model's answers come from; `model` is set where it has another name there."""

    socket: str = ""
    url: str = ""
    model: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    retry_after_s: float | None


class EngineClient:
    """One pool of connections to one endpoint; as many at once as are asked for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        connector: aiohttp.BaseConnector
        if endpoint.socket:
            connector = aiohttp.UnixConnector(path=endpoint.socket, limit=0)
            self._base = "http://engine"
        else:
            connector = aiohttp.TCPConnector(limit=0)
            self._base = endpoint.url.rstrip("/").removesuffix("/v1")
        # Parsed once: an address given as text is parsed again for each request.
        self._urls: dict[str, yarl.URL] = {}
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Deadlines are the caller's, one a request.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            headers={"Content-Type": "application/json", **endpoint.headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def post(self, path: str, body: bytes) -> Reply:
        """Send one request; raises ConnectionLost where no whole answer came, or NotSendable."""
        try:
            url = self._urls.get(path)
            if url is None:
                url = self._urls[path] = yarl.URL(f"{self._base}{path}")
            if self._endpoint.model:
                body = with_model(body, self._endpoint.model)
            # Reading to the end gives the connection back, and a failed read closes it.
            response = await self._session.post(url, data=body)
            content = await response.read()
        except (aiohttp.InvalidURL, ValueError, RecursionError) as error:
            raise NotSendable(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(f"{type(error).__name__}: {error}") from error
        after = None if response.status == 200 else response.headers.get("Retry-After")
        return Reply(response.status, content, _seconds(after))

    async def is_healthy(self) -> bool:
        """Ask vLLM's own health route, which knows whether the engine behind it is dead."""
        try:
            async with self._session.get(
                f"{self._base}/health", timeout=aiohttp.ClientTimeout(total=5)
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def tokens_made(self) -> int | None:
        """Return how many tokens vLLM has read and written so far; None if it does not say."""
        try:
            async with self._session.get(
                f"{self._base}/metrics", timeout=aiohttp.ClientTimeout(total=10)
            ) as response:
                found = _TOKENS.findall(await response.text())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return int(sum(float(value) for value in found)) if found else None


def with_model(body: bytes, model: str) -> bytes:
    """Return the body with another model's name in it, all else untouched."""
    try:
        fields = _decode_raw(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Valid JSON that the strict decoder refuses, such as half a character pair.
        return json.dumps({**json.loads(body), "model": model}).encode()
    fields["model"] = msgspec.Raw(_encode(model))
    return _encode(fields)


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None  # An HTTP date: our own backoff serves as well.
