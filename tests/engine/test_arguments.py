"""vLLM's own parser, asked about arguments before a model is entered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.engines.arguments import check_arguments
from jobs.engines.environment import engine_environment
from tests.engine.conftest import CHAT_ARGS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture
def vllm(settings: Any) -> Iterator[None]:
    engine_environment.cache_clear()
    settings.ENGINE_PYTHON = sys.executable
    yield
    engine_environment.cache_clear()


def test_the_real_parser_takes_what_is_right_and_names_what_is_wrong(vllm: None) -> None:
    for engine_args, error in (
        (f"{CHAT_ARGS} --max_model_len 2k", ""),
        ("--max-modellen 2048", "unrecognized arguments: --max-modellen"),
        ("--max-model-len=long", "argument --max-model-len: invalid"),
        ("--enable-auto-tool-choice", "requires --tool-call-parser"),
    ):
        report = check_arguments(source="owner/name", engine_args=engine_args)
        assert report.warning == ""
        assert bool(report.error) == bool(error), report
        assert error in report.error
