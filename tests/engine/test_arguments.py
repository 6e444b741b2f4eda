"""vLLM's own parser, asked about arguments before a model is entered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobs.engines.arguments import ArgumentReport, check_arguments
from jobs.engines.environment import engine_environment
from tests.engine.conftest import CHAT_ARGS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture
def vllm(settings: Any) -> Iterator[None]:
    engine_environment.cache_clear()
    settings.ENGINE_PYTHON = sys.executable
    yield
    engine_environment.cache_clear()


def _report(engine_args: str) -> ArgumentReport:
    return check_arguments(source="owner/name", engine_args=engine_args)


def test_the_real_parser_takes_what_is_right_and_names_what_is_wrong(vllm: None) -> None:
    known = {
        f"{CHAT_ARGS} --max_model_len 2k": "",
        "--max-modellen 2048": "unrecognized arguments: --max-modellen",
        "--max-model-len=long": "argument --max-model-len: invalid",
        "--enable-auto-tool-choice": "requires --tool-call-parser",
    }
    # Each takes a core for a quarter of a minute, to import vLLM.
    with ThreadPoolExecutor(2) as pool:
        reports = pool.map(_report, known)
        found = dict(zip(known, reports, strict=True))
    for engine_args, error in known.items():
        report = found[engine_args]
        assert report.warning == ""
        assert bool(report.error) == bool(error), report
        assert error in report.error
