"""Who is logged in, by statements that are written once: the same persons as Django would find."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client) -> User:
    person = User.objects.create_user("ann", password="a long one", email="ann@example.org")
    client.force_login(person)
    return person


def is_in(client) -> bool:
    return client.get("/batches").status_code == 200


def test_a_person_is_who_logged_in_with_all_that_is_known_of_them(client, person):
    found = client.get("/batches").wsgi_request.user
    known = User.objects.get()
    names = [field.attname for field in User._meta.concrete_fields]
    assert [getattr(found, name) for name in names] == [getattr(known, name) for name in names]
    assert (found, found.email) == (person, "ann@example.org")


def test_a_session_that_ran_out_was_deleted_or_never_was_opens_nothing(client, person):
    assert is_in(client)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not is_in(client)
    client.force_login(person)
    assert is_in(client)
    Session.objects.all().delete()
    assert not is_in(client)
    client.cookies[settings.SESSION_COOKIE_NAME] = "of-no-session-at-all"
    assert not is_in(client)


def test_a_key_that_no_text_of_the_database_can_be_opens_nothing(client):
    client.cookies[settings.SESSION_COOKIE_NAME] = "abcdefgh\0ijk"
    assert not is_in(client)


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
def test_a_person_who_was_switched_off_or_has_a_new_password_is_out(client, person, change):
    assert is_in(client)
    User.objects.update(**change)
    assert not is_in(client)


def test_a_person_who_was_deleted_is_out(client, person):
    assert is_in(client)
    person.delete()
    assert not is_in(client)
