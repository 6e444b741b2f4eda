"""What lies under `monitoring/provisioning`: dashboards with their panels, and alert rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "monitoring" / "provisioning"
PROMETHEUS = FOLDER / "prometheus"
DASHBOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str, str]]:
    """Return (dashboard, title of the panel, expression) of every query of every panel."""
    return [
        (path.stem, panel["title"], target["expr"])
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]
