"""A project with its key, and a way to ask as its owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.models import Project
from jobs.services.projects import create_key, get_project


@pytest.fixture
def project(db) -> Project:
    return get_project(name="ours")


@pytest.fixture
def ask(client, project) -> Callable[..., Any]:
    """Ask a route with the project's API key."""
    secret = create_key(project=project, name="test")[1]
    return lambda address, **params: client.get(
        address, params, headers={"Authorization": f"Bearer {secret}"}
    )
