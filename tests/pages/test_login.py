"""Logging in, out, and by a one-time link."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import signing
from django.db import connection
from django.test import Client

from jobs.services.login_links import LIFETIME_S, create_login_token, use_login_token


def test_name_and_password(client, member):
    wrong = client.post("/login", {"username": "member", "password": "no"})
    assert b"do not match an account" in wrong.content
    right = client.post(
        "/login?next=/monitor",
        {
            "username": "member",
            "password": "member-password",
            "next": "/monitor",
        },
    )
    assert (right.status_code, right["Location"]) == (302, "/monitor")
    assert client.get("/batches").status_code == 200
    assert client.post("/logout")["Location"] == "/login"
    assert client.get("/batches").status_code == 302


def test_a_link_logs_in_once(client, member):
    address = f"/login/link/{create_login_token(user=member)}"
    assert client.get(address)["Location"] == "/"
    assert client.get("/batches").status_code == 200
    # Who clicks twice, in the same browser, is led on; anybody else is not let in.
    assert client.get(address)["Location"] == "/"
    spent = Client().get(address)
    assert spent.status_code == 403 and b"has been used, or is too old" in spent.content


def test_a_preview_does_not_spend_the_link(client, member):
    address = f"/login/link/{create_login_token(user=member)}"
    assert client.head(address).status_code == 405
    assert client.get(address).status_code == 302
    assert client.get("/batches").status_code == 200


def test_a_link_leads_to_a_page_of_ours_only(member):
    def target(wanted: str) -> str:
        token = create_login_token(user=member)
        answer = Client().get(f"/login/link/{token}", {"next": wanted})
        member.refresh_from_db()
        return answer["Location"]

    assert target("/monitor") == "/monitor"
    for wanted in ("https://evil.example/", "//evil.example", "javascript:alert(1)", ""):
        assert target(wanted) == "/"


def test_what_makes_a_link_worthless(client, member, monkeypatch):
    token = create_login_token(user=member)
    assert use_login_token(token[:-1] + ("a" if token[-1] != "a" else "b")) is None
    assert use_login_token("") is None
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + LIFETIME_S + 5)
    assert use_login_token(token) is None
    monkeypatch.undo()
    member.set_password("another")
    member.save()
    assert use_login_token(token) is None
    token = create_login_token(user=member)
    member.is_active = False
    member.save()
    assert use_login_token(token) is None


@pytest.mark.django_db(transaction=True)
def test_two_at_once_and_one_gets_in(member):
    token = create_login_token(user=member)

    def use(_: int) -> bool:
        try:
            return use_login_token(token) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1
