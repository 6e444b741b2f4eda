"""`Prometheus`: a real one that scrapes a stack every second and evaluates its alerts at once."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from types import TracebackType
from typing import Any

import yaml

from tests.monitoring.provisioned import PROMETHEUS
from tests.stack.product import Stack, free_port
from vbatch_site.setup.debian import PROMETHEUS as PACKAGE
from vbatch_site.setup.debian import find_prometheus

# What a rule waits, and from what age on it calls a reading old: a test has no minutes.
_FOR = re.compile(r"^ *for: .*\n", re.M)
_OLD = re.compile(r"(time\(\) - \S+ >) 30\b")


class Prometheus:
    """Runs with the provisioned configuration, quickened; use as a context manager.

    It scrapes every `every_s` seconds, and gives a scrape as much time.
    """

    def __init__(self, stack: Stack, *, every_s: int = 1) -> None:
        self._every_s = every_s
        self._stack = stack
        self._folder = stack.folder / "prometheus"
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        program = find_prometheus()
        assert program is not None, PACKAGE.how_to
        self._folder.mkdir()
        self._write_configuration()
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self._url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        try:
            self.wait(self._is_ready, 20, "Prometheus to start")
            self.wait(lambda: self.query("up == 1"), 30, "the first scrape")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "it has ended"
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _write_configuration(self) -> None:
        found = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        found["global"] = {
            "scrape_interval": f"{self._every_s}s",
            "scrape_timeout": f"{self._every_s}s",
            "evaluation_interval": "1s",
        }
        (job,) = found["scrape_configs"]
        (target,) = job["static_configs"]
        target["targets"] = [f"127.0.0.1:{self._stack.port}"]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(found))
        rules = (PROMETHEUS / "rules.yml").read_text()
        (self._folder / "rules.yml").write_text(_OLD.sub(r"\1 7", _FOR.sub("", rules)))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now, as Prometheus's API has it."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float:
        """Return the one number that an expression gives now."""
        (found,) = self.query(expression)
        return float(found["value"][1])

    def series(self, selector: str, *, last_s: float) -> list[dict[str, str]]:
        """Return the labels of each series that had a sample in the last seconds."""
        found: list[dict[str, str]] = self._ask(
            "series", **{"match[]": selector, "start": str(time.time() - last_s)}
        )
        return found

    def is_firing(self, alert: str) -> bool:
        return bool(self.query(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'))

    def wait(
        self, check: Callable[[], Any], timeout_s: float, what: str | Callable[[], str]
    ) -> None:
        def told() -> str:
            log = (self._folder / "prometheus.log").read_text()
            return f"{what if isinstance(what, str) else what()}\n{log[-2000:]}"

        self._stack.wait(check, timeout_s, told)

    def _ask(self, route: str, **parameters: str) -> Any:
        address = f"{self._url}/api/v1/{route}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
