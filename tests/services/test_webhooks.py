"""Real deliveries to a real receiver: signed, repeated, refused, taken over, replayed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ

from jobs import webhooks
from jobs.models import AuditEntry, Batch, BatchEvent, Project, WebhookAttempt, WebhookDelivery
from jobs.services import webhooks as outbox
from jobs.services.batches import cancel_batch
from jobs.services.webhooks import Due, Outcome, announce_events, claim_deliveries, finish_delivery
from jobs.states import DeliveryState

pytestmark = pytest.mark.django_db(transaction=True)


class Receiver(ThreadingHTTPServer):
    """Notes what it is sent; answers with the next of `answers`, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOW = ["127.0.0.1"]
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch) -> None:
    """A retry is due at once."""
    monkeypatch.setattr(outbox, "_wait_s", lambda tries, outcome: 0.0)


def end(batch: Batch) -> None:
    """Cancel a batch with nobody at work, which ends it at once."""
    cancel_batch(batch=batch)
    batch.refresh_from_db()
    assert batch.state == "cancelled"


def test_the_openai_client_accepts_what_is_delivered(make_batch, receiver) -> None:
    batch = make_batch(2, webhook_url=receiver.url)
    end(batch)
    assert webhooks.deliver_due() == 1
    (_, headers, body) = receiver.got[0]
    secret = Project.objects.get().webhook_secret
    client = openai.OpenAI(api_key="x", webhook_secret=secret)
    event = client.webhooks.unwrap(body, headers)
    assert (event.type, event.data.id) == ("batch.cancelled", batch.public_id)
    assert event.id == headers["webhook-id"]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(b"cancelled", b"completed"), headers)
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == DeliveryState.DELIVERED
    assert delivery.delivered_at is not None
    assert webhooks.deliver_due() == 0


def test_a_receiver_that_fails_twice_gets_the_same_event_again(make_batch, receiver) -> None:
    receiver.answers = [(500, {}), (503, {"Retry-After": "1"})]
    end(make_batch(1, webhook_url=receiver.url))
    assert webhooks.deliver_due() == 3
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.got}) == 1
    statuses = WebhookAttempt.objects.order_by("number").values_list("number", "status_code")
    assert list(statuses) == [(1, 500), (2, 503), (3, 204)]
    assert WebhookDelivery.objects.get().last_error == ""


def test_batch_and_project_are_told_once_each(make_batch, receiver) -> None:
    Project.objects.update_or_create(name="default", defaults={"webhook_url": receiver.url})
    end(make_batch(1, webhook_url=receiver.url))
    end(make_batch(1, webhook_url=f"{receiver.url}/own"))
    webhooks.deliver_due()
    assert sorted(path for path, _, _ in receiver.got) == ["/hook", "/hook", "/hook/own"]


def test_an_ending_is_announced_once_whatever_becomes_of_the_message(make_batch, receiver) -> None:
    batch = make_batch(1, webhook_url=receiver.url)
    end(batch)
    assert OrmQ.objects.exists(), "the ending did not ring"
    OrmQ.objects.all().delete()
    assert outbox.anything_due(), "the sweep would not ring again"
    for _ in range(3):
        webhooks.deliver_due()
    assert len(receiver.got) == 1
    assert not outbox.anything_due()
    assert BatchEvent.objects.get(new_state="cancelled").announced_at is not None


def test_an_imported_batch_tells_nobody(make_batch, receiver) -> None:
    batch = make_batch(1, webhook_url=receiver.url)
    Batch.objects.update(imported_at=timezone.now())
    end(batch)
    assert webhooks.deliver_due() == 0
    assert not outbox.anything_due()


def test_a_sender_that_dies_is_taken_over_and_cannot_write_any_more(make_batch, receiver) -> None:
    end(make_batch(1, webhook_url=receiver.url))
    announce_events()
    (dead,) = claim_deliveries(limit=5, per_host=5)
    assert claim_deliveries(limit=5, per_host=5) == []
    assert webhooks.deliver_due() == 0
    WebhookDelivery.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert webhooks.deliver_due() == 1
    assert not finish_delivery(due=dead, outcome=Outcome(status=500))
    assert WebhookDelivery.objects.get().state == DeliveryState.DELIVERED
    assert receiver.got[0][1]["webhook-id"] == dead.public_id


def test_two_senders_at_once_deliver_once(make_batch, receiver) -> None:
    for _ in range(5):
        end(make_batch(1, webhook_url=receiver.url))
    counts: list[int] = []

    def send() -> None:
        counts.append(webhooks.deliver_due())
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(receiver.got) == 5


def test_dead_after_the_last_try_and_alive_again_by_replay(
    make_batch, receiver, settings, admin_client
) -> None:
    settings.WEBHOOK_TRIES = 2
    receiver.answers = [(500, {})] * 2
    end(make_batch(1, webhook_url=receiver.url))
    assert webhooks.deliver_due() == 2
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.last_error) == (DeliveryState.DEAD, "HTTP 500")
    assert webhooks.deliver_due() == 0
    admin_client.post(
        "/admin/jobs/webhookdelivery/",
        {"action": "replay", "_selected_action": [delivery.pk]},
    )
    assert AuditEntry.objects.get(action="webhook.replay").target == delivery.public_id
    # As many tries again as a new one has.
    receiver.answers = [(500, {})]
    assert webhooks.deliver_due() == 2
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 4)


def test_gone_is_dead_at_once(make_batch, receiver) -> None:
    receiver.answers = [(410, {})]
    end(make_batch(1, webhook_url=receiver.url))
    assert webhooks.deliver_due() == 1
    assert WebhookDelivery.objects.get().state == DeliveryState.DEAD


def test_a_redirect_is_not_followed(make_batch, receiver, settings) -> None:
    settings.WEBHOOK_TRIES = 1
    receiver.answers = [(307, {"Location": f"{receiver.url}/inside"})]
    end(make_batch(1, webhook_url=receiver.url))
    webhooks.deliver_due()
    assert [path for path, _, _ in receiver.got] == ["/hook"]
    assert "redirects are not followed" in WebhookDelivery.objects.get().last_error


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0", "[::1]", "[::ffff:7f00:1]"],
)
def test_nothing_private_is_called_in_any_spelling(make_batch, receiver, settings, host) -> None:
    settings.WEBHOOK_ALLOW = []
    end(make_batch(1, webhook_url=f"http://{host}:{receiver.server_port}/hook"))
    webhooks.deliver_due()
    assert receiver.got == []
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == DeliveryState.DEAD
    assert delivery.last_error.startswith("Not called:")


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_checked(
    make_batch, receiver, settings, monkeypatch
) -> None:
    """Public when it is checked, loopback at any later look: there is no later look."""
    settings.WEBHOOK_ALLOW = []
    settings.WEBHOOK_TRIES = 1
    monkeypatch.setattr(webhooks, "CONNECT_TIMEOUT_S", 0.3)
    looks: list[str] = []

    async def look_up(host: str, port: int) -> list[tuple[int, str]]:
        looks.append(host)
        return [(socket.AF_INET, "127.0.0.1" if len(looks) > 1 else "8.8.8.8")]

    monkeypatch.setattr(webhooks, "look_up", look_up)
    end(make_batch(1, webhook_url=f"http://rebinding.test:{receiver.server_port}/hook"))
    webhooks.deliver_due()
    assert looks == ["rebinding.test"]
    assert receiver.got == []


def test_a_name_with_a_private_and_a_public_address_reaches_no_private_one(
    make_batch, receiver, settings, monkeypatch
) -> None:
    settings.WEBHOOK_ALLOW = []
    settings.WEBHOOK_TRIES = 1
    monkeypatch.setattr(webhooks, "CONNECT_TIMEOUT_S", 0.3)

    async def look_up(host: str, port: int) -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "8.8.8.8")]

    monkeypatch.setattr(webhooks, "look_up", look_up)
    end(make_batch(1, webhook_url=f"http://both.test:{receiver.server_port}/hook"))
    webhooks.deliver_due()
    assert receiver.got == []


def test_an_allowed_name_is_called(make_batch, receiver, settings) -> None:
    settings.WEBHOOK_ALLOW = ["localhost"]
    end(make_batch(1, webhook_url=f"http://localhost:{receiver.server_port}/hook"))
    webhooks.deliver_due()
    assert len(receiver.got) == 1


def test_a_slow_receiver_holds_up_nobody_else(make_batch, receiver, monkeypatch) -> None:
    monkeypatch.setattr(webhooks, "TRY_TIMEOUT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(6):
            end(make_batch(1, webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        monkeypatch.setattr(webhooks, "RUN_S", 1.0)
        end(make_batch(1, webhook_url=receiver.url))
        webhooks.deliver_due()
    assert len(receiver.got) == 1
    slow = WebhookDelivery.objects.exclude(state=DeliveryState.DELIVERED)
    assert {one.attempts for one in slow} == {0, 1}
    assert slow.filter(attempts=1).count() == webhooks.PER_HOST


def test_the_secret_is_made_once_and_rotated(db, capsys) -> None:
    Project.objects.get_or_create(name="team")

    def told(*words: str) -> str:
        call_command("webhooksecret", "team", *words)
        return capsys.readouterr().out.strip()

    first = told()
    assert first.startswith("whsec_")
    assert told() == first
    assert told("--rotate") != first
    assert AuditEntry.objects.get().action == "webhook.rotate_secret"
    assert first not in json.dumps(list(AuditEntry.objects.values("details", "target")))


def test_headers_sign_the_very_bytes() -> None:
    due = Due(id=1, public_id="evt_1", url="", payload=b'{"a":1}', attempts=1, secret="whsec_YWJj")
    headers = webhooks.headers_of(due)
    from standardwebhooks import Webhook

    assert Webhook(due.secret).verify(due.payload, headers) == {"a": 1}
