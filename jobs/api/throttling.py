"""How often a key may ask: OpenAI's headers, and its refusal."""

from __future__ import annotations

import math
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from jobs.api.errors import ApiError
from jobs.services.throttle import Allowance, TooManyRequests, take_request


class KeyThrottle(BaseThrottle):
    """Counts the request; after authentication, and before anything is read or done."""

    def allow_request(self, request: Request, view: Any) -> bool:
        raw: Any = request._request
        key: Any = request.auth
        if key is None:
            return True  # A person at a page; only keys are limited.
        try:
            raw.allowance = take_request(key=key)
        except TooManyRequests as error:
            raw.allowance = error.allowance
            raise _refusal(error) from error
        return True


def allowance_headers(request: Request) -> dict[str, str]:
    """Return what a limited key has left, in OpenAI's headers; none for any other caller."""
    allowance: Allowance | None = getattr(request._request, "allowance", None)
    if allowance is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(allowance.limit),
        "x-ratelimit-remaining-requests": str(allowance.remaining),
        "x-ratelimit-reset-requests": duration_text(allowance.reset_s),
    }


def duration_text(seconds: float) -> str:
    """Write a duration as OpenAI does: `6m0s`, `1s`, `1.5s`, `20ms`; rounded up."""
    ms = math.ceil(seconds * 1_000)
    if ms < 1_000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    rest = f"{ms / 1_000:g}s" if ms % 1_000 else f"{ms // 1_000}s"
    return f"{minutes}m{rest}" if minutes else rest


def _refusal(error: TooManyRequests) -> ApiError:
    retry_ms = math.ceil(error.retry_s * 1_000)
    return ApiError(
        f"Rate limit reached for this API key on requests per min (RPM): Limit "
        f"{error.allowance.limit}. Please try again in {duration_text(error.retry_s)}.",
        status=429,
        type="requests",
        code="rate_limit_exceeded",
        headers={"retry-after-ms": str(retry_ms), "retry-after": str(math.ceil(retry_ms / 1_000))},
    )
