"""The lines of an input file, checked in turn: what is in order, and every finding."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypedDict

from msgspec import UNSET, Struct

from jobs.answer_keys import body_digest, is_repeatable
from jobs.line_rules import (
    ENDPOINTS,
    Body,
    Problem,
    UnreadableLine,
    custom_id_problem,
    estimate_tokens,
    method_problem,
    prompt_problem,
    read_body,
    read_envelope,
    short,
    stream_problem,
    url_problem,
)
from jobs.prompts import prompt_digest, prompt_text, storable_text, tools_seed

# The code of the last finding where there were more than are listed.
MORE_ERRORS = "more_errors"
# A file of one batch names one model; of one that names others, so many are told apart.
MODELS_TOLD = 20


class Finding(TypedDict):
    """One thing wrong with the input, in the shape of the API's `errors.data`."""

    code: str
    message: str
    param: str | None
    line: int | None


class RequestLine(Struct, frozen=True):
    """A line that passed every check; `body` is the body's bytes as they stood in the file.

    `body_sha256` is there where the line may take the answer of an equal one. `tools_seed` stands
    for the tools, which the engine reads before the prompt.
    """

    line: int
    position: int
    custom_id: str
    body: bytes
    prompt_text: str
    prompt_sha256: bytes
    body_sha256: bytes | None = None
    tools_seed: int = 0


@dataclass(slots=True)
class LineChecker:
    """Checks the lines of one file in turn and collects every finding.

    A line tells everything that is wrong with it, as far as one thing does not follow from
    another; one that cannot be read tells only that. `models` holds the names that may stand in
    `body.model`, None for any; with `one_model` off, lines may name several. With `tells_equals`,
    lines that are answered alike each time get a digest of their bodies. Memory grows with the
    number of lines by one short digest of each custom_id.
    """

    endpoint: str
    models: Collection[str] | None
    max_lines: int
    max_inputs: int
    max_findings: int
    one_model: bool = True
    tells_equals: bool = False
    line: int = 0
    total: int = 0
    estimated_tokens: int = 0
    model: str | None = None
    # How many lines name each model, of those that stand in the file.
    named: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    hidden: int = 0
    _inputs: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def check(self, raw: bytes) -> RequestLine | None:
        """Check the next line of the file; None where it is blank or has findings."""
        self.line += 1
        if self.line == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip()
        if not raw:
            return None
        self.total += 1
        request, problems = self._check(raw)
        for problem in problems:
            self.add(problem.code, problem.message, param=problem.param, line=self.line)
        return request

    def too_long(self, limit: int) -> None:
        """Note that the next line of the file is longer than `limit` bytes."""
        self.line += 1
        self.total += 1
        self.add("invalid_request", f"This line is longer than {limit:,} bytes.", line=self.line)

    def finish(self) -> list[Finding]:
        """Return every finding, those about the file as a whole first."""
        whole: list[Finding] = []
        if self.total == 0:
            whole.append(_finding("empty_file", "The input file holds no requests."))
        if self.total > self.max_lines:
            whole.append(
                _finding(
                    "too_many_tasks",
                    f"The input file holds {self.total:,} requests; at most {self.max_lines:,} "
                    "are allowed. Split it into several batches.",
                )
            )
        if self._inputs > self.max_inputs:
            whole.append(
                _finding(
                    "too_many_tasks",
                    f"The input file holds {self._inputs:,} embedding inputs; at most "
                    f"{self.max_inputs:,} are allowed. Split it into several batches.",
                    param="body.input",
                )
            )
        rest: list[Finding] = []
        if self.hidden:
            more = "1 more error is" if self.hidden == 1 else f"{self.hidden:,} more errors are"
            rest.append(_finding(MORE_ERRORS, f"{more} not listed."))
        return whole + self.findings + rest

    def add(
        self, code: str, message: str, *, param: str | None = None, line: int | None = None
    ) -> None:
        if len(self.findings) < self.max_findings:
            self.findings.append(_finding(code, message, param=param, line=line))
        else:
            self.hidden += 1

    def _check(self, raw: bytes) -> tuple[RequestLine | None, list[Problem]]:
        try:
            envelope = read_envelope(raw)
        except UnreadableLine as error:
            return None, [error.problem]
        found = [
            self._custom_id_problem(envelope.custom_id),
            method_problem(envelope.method),
            url_problem(envelope.url, self.endpoint),
        ]
        body_bytes = b"" if envelope.body is UNSET else bytes(envelope.body)
        body = read_body(body_bytes)
        if isinstance(body, Problem):
            found.append(body)
        else:
            found += (
                stream_problem(body),
                self._model_problem(body.model),
                self._prompt_problem(body, envelope.url),
            )
        problems = [problem for problem in found if problem is not None]
        if problems or isinstance(body, Problem):
            return None, problems
        try:
            text, digest, seed = _read_prompt(body)
        except RecursionError:
            # From Python 3.12 on, decoders in C may go deeper than functions in Python.
            return None, [Problem("invalid_request", "The body is nested too deeply.", "body")]
        self.estimated_tokens += estimate_tokens(body_bytes)
        equal: bytes | None = None
        if self.tells_equals and is_repeatable(body, body_bytes, endpoint=self.endpoint):
            equal = body_digest(body_bytes, endpoint=self.endpoint)
        request = RequestLine(
            line=self.line,
            position=self.total - 1,
            custom_id=envelope.custom_id,
            body=body_bytes,
            prompt_text=text,
            prompt_sha256=digest,
            body_sha256=equal,
            tools_seed=seed,
        )
        return request, problems

    def _custom_id_problem(self, value: Any) -> Problem | None:
        problem = custom_id_problem(value)
        if problem is not None:
            return problem
        # Kept whatever else is wrong with the line: its author mends that and leaves the id.
        digest = hashlib.blake2b(value.encode(), digest_size=12).digest()
        if digest not in self._seen:
            self._seen.add(digest)
            return None
        return Problem(
            "duplicate_custom_id",
            f"The custom_id '{short(value)}' stands more than once in this file.",
            "custom_id",
        )

    def _model_problem(self, name: Any) -> Problem | None:
        if name == self.model and name is not None:
            self.named[name] += 1
            return None
        param = "body.model"
        if not isinstance(name, str) or not name:
            return Problem("invalid_request", "The body needs 'model', the name of a model.", param)
        if name in self.named or len(self.named) < MODELS_TOLD:
            self.named[name] = self.named.get(name, 0) + 1
        if self.models is not None and name not in self.models:
            message = (
                f"The model '{short(name)}' is not supported. GET /v1/models lists those that are."
            )
            return Problem("model_not_found", message, param)
        if self.model is None:
            self.model = name
            self.named.setdefault(name, 1)
        if self.model == name or not self.one_model:
            return None
        message = (
            f"The model '{short(name)}' differs from '{short(self.model)}', which earlier lines "
            "name. One batch is for one model."
        )
        return Problem("model_mismatch", message, param)

    def _prompt_problem(self, body: Body, url: Any) -> Problem | None:
        problem = prompt_problem(body, self.endpoint)
        if problem is not None:
            # A line meant for another endpoint holds what that one requires: its URL is wrong,
            # and no more.
            is_at_home = url in ENDPOINTS and url != self.endpoint
            return None if is_at_home and prompt_problem(body, url) is None else problem
        if self.endpoint == "/v1/embeddings":
            # A list of numbers is one input, given as tokens.
            value = body.input
            many = isinstance(value, list) and not isinstance(value[0], int)
            self._inputs += len(value) if many else 1
        return None


def _read_prompt(body: Body) -> tuple[str, bytes, int]:
    """Return the text of the prompt, the digest of it with its tools, and one of the tools."""
    for value in (body.messages, body.prompt, body.input):
        if value is not UNSET and value is not None:
            tools = None if body.tools is UNSET else body.tools
            text = storable_text(prompt_text(value))
            return text, prompt_digest([value, tools]), tools_seed(tools) if tools else 0
    return "", prompt_digest(None), 0


def _finding(
    code: str, message: str, *, param: str | None = None, line: int | None = None
) -> Finding:
    return {"code": code, "message": message, "param": param, "line": line}
