"""The JSON body of a request."""

from __future__ import annotations

from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from jobs.api.errors import ApiError
from jobs.api.parameters import Parameters


class JSONParser(BaseParser):
    """Read strict JSON: neither NaN nor half of a character pair, however deep it is nested."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        # Django limits the size of `body`; reading the stream would not.
        raw = parser_context["request"]._request.body
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(f"The body of the request is not valid JSON: {error}.") from error


def optional_json_body(request: Request) -> Parameters:
    """Return the fields of a body that may be left out, and may then be of any media type."""
    if request._request.body or "HTTP_TRANSFER_ENCODING" in request.META:
        return json_body(request)
    return Parameters({})


def json_body(request: Request) -> Parameters:
    """Return the fields of the request's body, which must be a JSON object."""
    if "CONTENT_LENGTH" not in request.META and "HTTP_TRANSFER_ENCODING" in request.META:
        raise ApiError("Send a Content-Length with a JSON body.", status=411)
    data = request.data
    if not isinstance(data, dict) or (not data and not request._request.body):
        raise ApiError("The body of the request must be a JSON object.")
    return Parameters(data)
