"""The comparison with `run-batch`: the command is the engine's own, less what a server needs."""

from __future__ import annotations

from jobs.engines.run_batch import MODULE, as_run_batch
from tests.stack import Process


def test_run_batch_gets_what_the_engine_got() -> None:
    server = [
        *("/env/bin/python", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", "/m", "--served-model-name", "m", "alias", "--uds", "/run/api.sock"),
        *("--disable-uvicorn-access-log", "--max-num-seqs", "64", "--load-format=dummy"),
    ]
    engine = Process(pid=1, parent=0, group=1, started=0, args=server, environ={})
    assert as_run_batch(engine.args) == [
        *("/env/bin/python", "-m", MODULE),
        *("--model", "/m", "--served-model-name", "m", "alias"),
        *("--max-num-seqs", "64", "--load-format=dummy"),
    ]
