"""Statements written once: they find what their queryset finds, and refuse what they cannot do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Worker
from jobs.prepared import Prepared
from jobs.services.fleet import any_worker_alive, register_worker

pytestmark = pytest.mark.django_db


def named(*, name: str):
    return Worker.objects.filter(name=name).values_list("name", "pid").order_by("pk")


def test_it_finds_what_the_queryset_finds_for_each_value():
    for name, pid in (("a", 1), ("b", 2)):
        register_worker(name=name, pid=pid, version="test", lanes=[])
    prepared = Prepared(named, name="a stand-in")
    assert prepared.fetch(name="a") == list(named(name="a")) == [("a", 1)]
    assert prepared.fetch(name="b") == [("b", 2)]
    assert prepared.fetch(name="a stand-in") == []
    assert prepared.fetch(name="' OR true --") == []


def test_the_statement_is_written_once():
    built = []

    def build(*, name: str):
        built.append(name)
        return named(name=name)

    prepared = Prepared(build, name="a stand-in")
    for name in ("a", "b"):
        prepared.fetch(name=name)
    assert built == ["a stand-in"]


def test_a_stand_in_that_is_no_parameter_is_told():
    with pytest.raises(ValueError, match="another"):
        Prepared(lambda *, name: Worker.objects.values_list("pk"), name="another").fetch(name="a")


def test_a_column_that_needs_converting_is_told():
    prepared = Prepared(lambda: Batch.objects.values_list("metadata"))
    with pytest.raises(TypeError, match="converting"):
        prepared.fetch()


def test_a_worker_counts_by_the_clock_of_now_and_not_of_the_first_look():
    assert not any_worker_alive()
    register_worker(name="a", pid=1, version="test", lanes=[])
    assert any_worker_alive()
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert not any_worker_alive()
    Worker.objects.update(heartbeat_at=datetime(2200, 1, 1, tzinfo=UTC))
    assert any_worker_alive()
