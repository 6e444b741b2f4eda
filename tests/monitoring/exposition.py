"""Reading what `/metrics` answers, and which metrics an expression names."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from monitoring.prometheus.exposition import collector

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
_NAME = re.compile(r"\b(?:vbatch|django)_[a-z0-9_]+")


def scrape(client, **kwargs) -> Samples:
    """Return the samples of a fresh scrape; none comes twice."""
    collector.forget()
    response = client.get("/metrics", **kwargs)
    assert response.status_code == 200
    return read(response.content.decode())


def read(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def names(found: Samples) -> set[str]:
    return {name for name, _ in found}


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def named_in(expression: str) -> set[str]:
    return set(_NAME.findall(expression))
