"""Prometheus and Grafana as provisioned: promtool finds nothing, and each name exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring.quantities import SAMPLE_EVERY_S
from tests.monitoring.exposition import named_in, names, scrape
from tests.monitoring.filled import fill
from tests.monitoring.provisioned import (
    DASHBOARDS,
    FOLDER,
    PROMETHEUS,
    alerts,
    dashboard,
    panels,
    queries,
)
from vbatch_site.setup.debian import PROMETHEUS as PACKAGE
from vbatch_site.setup.debian import find_promtool

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")
_VARIABLES = {"datasource", "worker", "model"}


def promtool(*arguments: str, text: bytes = b"") -> None:
    path = find_promtool()
    assert path is not None, PACKAGE.how_to
    done = subprocess.run(
        [path, *arguments], input=text, capture_output=True, cwd=PROMETHEUS, timeout=60
    )
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told


@pytest.mark.django_db
def test_promtool_finds_nothing_in_what_the_server_exposes(client):
    fill()
    scrape(client)
    content = client.get("/metrics").content
    assert b"vbatch_engine_time_to_first_token_seconds_bucket" in content
    promtool("check", "metrics", text=content)


def test_promtool_finds_nothing_in_configuration_and_rules():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "rules.yml")


def test_every_alert_fires_when_it_must_and_only_then():
    promtool("test", "rules", "rules_test.yml")
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    assert {alert["alert"] for alert in alerts()} <= {test["name"] for test in tests}


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
        assert len(alert["annotations"]["description"]) > 80, alert["alert"]
        # A reading is a few seconds old at best: no alert hangs on one that is late.
        assert "for" in alert or "[1h]" in alert["expr"], alert["alert"]
        limits = [float(n) for n in re.findall(r"time\(\) - \S+ > (\d+)", alert["expr"])]
        assert all(limit > 10 * SAMPLE_EVERY_S for limit in limits), alert["alert"]


@pytest.mark.django_db
def test_every_metric_that_is_named_exists(client):
    fill()
    # A response of its own is counted only once it was sent.
    scrape(client)
    existing = names(scrape(client))
    for place, title, expression in queries():
        assert named_in(expression) <= existing, (place, title)
    for alert in alerts():
        assert named_in(alert["expr"]) <= existing | {"up"}, alert["alert"]
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            assert named_in(str(variable["query"])) <= existing, (path.stem, variable["name"])


@pytest.mark.django_db
def test_every_metric_of_ours_is_in_the_document_and_none_that_is_not(client):
    fill()
    existing = {
        _SUFFIX.sub("", name) if name.startswith("vbatch_engine_") else name
        for name in names(scrape(client))
        if name.startswith("vbatch_") and not name.endswith("_created")
    }
    rows = set(re.findall(r"^\| `(vbatch_[a-z0-9_]+)", DOCUMENT.read_text(), re.M))
    assert rows == existing


def test_every_alert_is_in_the_document():
    named = set(re.findall(r"`(Vbatch[A-Za-z]+)`", DOCUMENT.read_text()))
    assert named == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_fits_every_grafana(path):
    found = dashboard(path)
    variables = {variable["name"] for variable in found["templating"]["list"]}
    assert {"datasource"} < variables <= _VARIABLES
    assert "uid" not in found and found["id"] is None and found["tags"] == ["vbatch"]
    sources = re.findall(r'"uid":\s*"([^"]*)"', path.read_text())
    assert set(sources) == {"${datasource}"}
    seen = set()
    for panel in panels(path):
        assert panel["id"] not in seen
        seen.add(panel["id"])
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] and defaults["thresholds"]["steps"], panel["title"]
        used = set(re.findall(r"\$(\w+)", str([t["expr"] for t in panel["targets"]])))
        assert used <= variables | {"__rate_interval", "__range"}, panel["title"]
        # Counters are shown as rates, and no rate is taken of anything else.
        for target in panel["targets"]:
            for inner in re.findall(r"(?:rate|increase)\((\w+)", target["expr"]):
                assert inner.endswith(("_total", "_bucket")), panel["title"]
    boxes = [panel["gridPos"] for panel in found["panels"]]
    cells = {
        (x, y)
        for box in boxes
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    }
    assert len(cells) == sum(box["w"] * box["h"] for box in boxes), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_grafana_is_told_where_dashboards_and_data_are():
    folder = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "vbatch.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources" / "vbatch.yaml").read_text())["datasources"]
    assert provider["type"] == "file" and provider["options"]["path"] in DOCUMENT.read_text()
    # Its data source has no uid: Grafana gives it one, and the dashboards find it by its type.
    assert source["type"] == "prometheus" and "uid" not in source
