"""Errors of the API: one shape, in OpenAI's words, for whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from jobs.api.rendering import encode_json
from jobs.services.stored_bytes import StorageUnavailable

log = structlog.get_logger()

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"


class ApiError(Exception):
    """An answer other than the one asked for; `headers` go out with it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        type: str = INVALID_REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.type = type
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


def not_found(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(message, status=404, param=param, code=code)


def conflict(message: str, *, code: str | None = None, type: str = INVALID_REQUEST) -> ApiError:
    """A 409 that means no: the client would otherwise send the request again."""
    return ApiError(message, status=409, code=code, type=type, headers={"x-should-retry": "false"})


def too_large(limit: int, *, param: str = "file") -> ApiError:
    what = "part" if param == "data" else "file"
    return ApiError(
        f"The {what} is too large: at most {limit:,} bytes are allowed.",
        status=413,
        code=f"{what}_too_large",
        param=param,
    )


def limit_reached(message: str, *, code: str) -> ApiError:
    """A 429 that waiting a moment does not mend: the client shall not send the request again."""
    return ApiError(message, status=429, code=code, headers={"x-should-retry": "false"})


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Answer any exception that a view raised; DRF calls this."""
    answer = _answer_to(error, context["request"])
    response = Response(answer.body(), status=answer.status, headers=answer.headers)
    # Without it, Django writes a second line for each 4xx.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _answer_to(error: Exception, request: HttpRequest) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return ApiError(
            str(error.detail),
            status=401,
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if isinstance(error, exceptions.MethodNotAllowed):
        return ApiError(
            f"Not allowed to {request.method} on {request.path}.",
            status=405,
            code="method_not_supported",
        )
    if isinstance(error, exceptions.APIException):
        return ApiError(str(error.detail), status=error.status_code)
    if isinstance(error, Http404):
        return unknown_address(request)
    if isinstance(error, PermissionDenied | exceptions.PermissionDenied):
        return ApiError("This API key may not do that.", status=403)
    if isinstance(error, RequestDataTooBig):
        return ApiError("The request is too large.", status=413, code="request_too_large")
    if isinstance(error, SuspiciousOperation | BadRequest):
        return ApiError("The request is malformed.")
    if isinstance(error, UnreadablePostError):
        return ApiError("The request ended before it was complete.")
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database_unavailable", path=request.path, error=str(error).strip())
        return ApiError(
            "The database cannot be reached just now; try again.",
            status=503,
            type=SERVER_ERROR,
            code="service_unavailable",
            headers={"retry-after": "1"},
        )
    if isinstance(error, StorageUnavailable):
        log.error("storage_unavailable", path=request.path, error=str(error))
        return ApiError(
            "The storage of files cannot be reached just now; try again.",
            status=503,
            type=SERVER_ERROR,
            code="service_unavailable",
            headers={"retry-after": "1"},
        )
    return _unexpected(error, request)


def _unexpected(error: BaseException | None, request: HttpRequest) -> ApiError:
    log.error("api_error", path=request.path, method=request.method, exc_info=error or True)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    return ApiError(
        "The server had an error while processing your request. "
        f"The log of the server says more under the request id {request_id}.",
        status=500,
        type=SERVER_ERROR,
        code="internal_error",
    )


def unknown_address(request: HttpRequest) -> ApiError:
    return not_found(f"Invalid URL ({request.method} {request.path})", code="unknown_url")


# --- What fails before a view is reached, such as a Host header that is not allowed -----------
def _of_api(request: HttpRequest) -> bool:
    return request.path == "/v1" or request.path.startswith("/v1/")


def _plain(answer: ApiError) -> HttpResponse:
    body = encode_json(answer.body())
    return HttpResponse(
        body,
        status=answer.status,
        content_type="application/json",
        headers={**answer.headers, "Content-Length": str(len(body))},
    )


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _of_api(request):
        return defaults.bad_request(request, exception)
    return _plain(_answer_to(exception, request))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _of_api(request):
        return defaults.permission_denied(request, exception)
    return _plain(_answer_to(exception, request))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _of_api(request):
        return defaults.page_not_found(request, exception)
    return _plain(unknown_address(request))


def handler500(request: HttpRequest) -> HttpResponse:
    if not _of_api(request):
        return defaults.server_error(request)
    return _plain(_unexpected(None, request))
