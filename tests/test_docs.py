"""What the documents promise exists, and what exists is in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import resolve

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text() for path in DOCUMENTS)
SETTING = re.compile(r"\b(?:VBATCH_[A-Z_]+|DATABASE_URL)\b")
# Set by the product for its own processes, or a test's.
INTERNAL = {"VBATCH_WORKER_RUN"}


def _settings_in_code() -> set[str]:
    files = [
        path
        for folder in ("vbatch_site", "jobs", "monitoring", "curation", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if "harness" not in path.relative_to(ROOT).parts
    ]
    found: set[str] = set()
    for path in files:
        found |= set(re.findall(r'"(VBATCH_[A-Z_]+|DATABASE_URL)"', path.read_text()))
    return found - INTERNAL


def test_every_setting_has_a_row_in_the_readme():
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.M))
    assert rows == _settings_in_code()


def test_no_document_names_a_setting_that_does_not_exist():
    assert set(SETTING.findall(TEXT)) <= _settings_in_code()


def test_every_command_in_the_documents_exists():
    named = set(re.findall(r"manage\.py (\w+)", TEXT))
    assert named
    assert named <= set(get_commands())


def test_every_make_target_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.M))
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    "address",
    sorted(
        set(re.findall(r"`(/(?:v1/)?[a-z][a-z/-]*)`", TEXT))
        - {"/v1/score", "/v1/rerank", "/var/lib/vbatch"}
    ),
)
def test_every_address_in_the_documents_resolves(address):
    assert resolve(address if address != "/admin" else "/admin/")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_local_link_leads_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
