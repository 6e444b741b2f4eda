"""What every view of the API shares."""

from __future__ import annotations

from typing import Any, NoReturn

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.authentication import Caller
from jobs.api.errors import ApiError, not_found, unknown_address
from jobs.api.parameters import Parameters, echo
from jobs.api.parsing import JSONParser
from jobs.api.rendering import JSONNegotiation
from jobs.api.throttling import KeyThrottle, allowance_headers
from jobs.models import Project


class ApiView(APIView):
    """A route under /v1, for the project of the caller's key."""

    parser_classes = [JSONParser]
    content_negotiation_class = JSONNegotiation
    throttle_classes = [KeyThrottle]
    http_method_names = ["get", "head", "post", "delete"]

    @property
    def project(self) -> Project:
        caller = self.request.user
        assert isinstance(caller, Caller)
        return caller.project

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        done = super().finalize_response(request, response, *args, **kwargs)
        for name, value in allowance_headers(request).items():
            done[name] = value
        return done

    def query(self) -> Parameters:
        for name, values in self.request.GET.lists():
            if len(values) > 1:
                raise ApiError(
                    f"The parameter '{echo(name)}' was given more than once.", param=echo(name)
                )
        return Parameters(self.request.GET, typed=False)


class UnknownView(ApiView):
    """Any address that nothing else answers to; asks for no key, like OpenAI's."""

    authentication_classes = []
    permission_classes = []
    content_negotiation_class = JSONNegotiation

    def initial(self, request: Request, *args: object, **kwargs: object) -> NoReturn:
        raise unknown_address(request._request)


class BatchOnlyView(UnknownView):
    """The endpoints of an inference server, asked one by one; they answer in batches only."""

    schema = None

    def initial(self, request: Request, *args: object, **kwargs: object) -> NoReturn:
        docs = request.build_absolute_uri("/docs")
        raise not_found(
            f"This server answers {request.path} in batches only, not request by request: upload "
            "a JSONL file of requests (POST /v1/files with purpose 'batch'), then POST /v1/batches "
            f"with its id and endpoint '{request.path}'. See {docs}.",
            code="batch_only",
        )
