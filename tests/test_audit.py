"""Who did what: one entry for each deed, with its actor, whatever the door; and no secrets."""

from __future__ import annotations

import getpass
import io
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from jobs.models import AuditEntry, Batch, Membership, Project, ProjectKey, ServedModel
from jobs.services.audit import note_deed
from jobs.services.masking import HIDDEN, told_address, told_arguments, told_value
from jobs.services.projects import create_key, get_project
from tests.cast import make_batch, make_person

pytestmark = pytest.mark.django_db

SHELL = f"shell {getpass.getuser()}@{socket.gethostname()}"
SECRET = "hf_Secret0123456789"


@dataclass
class World:
    """One of each thing, and the doors to them; `seen` collects secrets that were handed out."""

    root: User
    project: Project
    model: ServedModel
    key: ProjectKey
    secret: str
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin = Client()
        self.admin.force_login(self.root)

    @property
    def key_words(self) -> str:
        return f"key {self.key.name} ({self.key.prefix})"

    def api(self, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}"}
        # A cookie beside the key changes nothing: the key acts.
        done = self.admin.post(
            path, json.dumps(body or {}), content_type="application/json", headers=headers
        )
        assert done.status_code == 200, done.content
        return done.json()

    def save(self, path: str, form: dict[str, Any]) -> None:
        done = self.admin.post(f"/admin/jobs/{path}", form)
        assert done.status_code == 302, done.context["errors"] if done.context else done.content

    def act(self, name: str, action: str, *chosen: object, **more: str) -> None:
        form = {"action": action, "_selected_action": [str(one) for one in chosen], **more}
        done = self.admin.post(f"/admin/jobs/{name}/", form, follow=True)
        assert done.status_code == 200

    def command(self, name: str, *args: str) -> None:
        out = io.StringIO()
        call_command(name, *args, stdout=out, stderr=io.StringIO())
        if name == "createapikey":
            self.seen.append(out.getvalue().strip())

    def project_form(self, *members: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The form of the project as its page would send it, with what is named changed."""
        known = list(Membership.objects.filter(project=self.project).order_by("pk"))
        rows = [{"id": m.pk, "user": m.user_id, "role": m.role} for m in known]
        for row, change in zip(rows, members, strict=False):
            row.update(change)
        rows += members[len(rows) :]
        form = {
            "name": self.project.name,
            "webhook_url": self.project.webhook_url,
            **{
                name: "" if (value := getattr(self.project, name)) is None else value
                for name in (
                    "max_live_batches",
                    "max_queued_requests",
                    "max_queued_tokens",
                    "max_stored_bytes",
                )
            },
            "membership_set-TOTAL_FORMS": len(rows),
            "membership_set-INITIAL_FORMS": len(known),
            **changes,
        }
        for number, row in enumerate(rows):
            form |= {f"membership_set-{number}-{name}": value for name, value in row.items()}
            form[f"membership_set-{number}-project"] = self.project.pk
        return form

    def model_form(self, **changes: Any) -> dict[str, Any]:
        model = self.model
        form = {
            "name": model.name,
            "aliases": ",".join(model.aliases),
            "enabled": "on",
            "source": model.source,
            "engine_args": model.engine_args,
            "upstream_url": "",
            "upstream_model": "",
            "upstream_key_env": "",
            "upstream_concurrency": 64,
            **changes,
        }
        return {name: value for name, value in form.items() if value is not None}


@pytest.fixture
def world(db) -> World:
    root = User.objects.create_superuser("root", password="root-password")
    project = get_project(name="ours")
    key, secret = create_key(project=project, name="nightly")
    model = ServedModel.objects.create(
        name="small", source="/models/small", engine_args="--max-model-len 4096"
    )
    Membership.objects.create(project=project, user=make_person("ada"), role="member")
    AuditEntry.objects.all().delete()
    return World(root, project, model, key, secret, [secret])


def _live(world: World) -> Batch:
    return make_batch(project=world.project, open_lines=1)


def _ended(world: World) -> Batch:
    return make_batch(project=world.project, state="completed", texts=["a"])


def _make_by_api(world: World) -> str:
    body = {
        "input_file_id": "file-x",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"token": SECRET},
        "webhook_url": f"https://hooks.example.org/{SECRET}",
    }
    return world.api("/v1/batches", body)["id"]


def _cancel_by_api(world: World) -> str:
    batch = _live(world)
    world.api(f"/v1/batches/{batch.public_id}/cancel")
    # Asked for twice, and done once.
    world.api(f"/v1/batches/{batch.public_id}/cancel")
    return batch.public_id


def _cancel_by_page(world: World) -> str:
    batch = _live(world)
    world.admin.post(f"/batches/{batch.public_id}/cancel")
    return batch.public_id


def _cancel_by_admin(world: World) -> str:
    batch = _live(world)
    world.act("batch", "cancel", batch.pk)
    return batch.public_id


def _delete_by_admin(world: World) -> str:
    batch = _ended(world)
    world.save(f"batch/{batch.pk}/delete/", {"post": "yes"})
    return batch.public_id


def _delete_from_list(world: World) -> str:
    batch = _ended(world)
    world.act("batch", "delete_selected", batch.pk, post="yes")
    return batch.public_id


def _key_by_admin(world: World) -> str:
    form = {"name": "mine", "project": world.project.pk, "requests_per_minute": 5}
    page = world.admin.post("/admin/jobs/projectkey/add/", form)
    world.seen.append(page.context["secret"])
    return f"mine ({page.context['key'].prefix})"


def _key_by_command(world: World) -> str:
    world.command("createapikey", "mine", "--project", "ours", "--requests-per-minute", "5")
    return f"mine ({ProjectKey.objects.get(name='mine').prefix})"


def _of_key(work: Callable[[World], None]) -> Callable[[World], str]:
    def do(world: World) -> str:
        work(world)
        # Done again, it changes nothing.
        work(world)
        return f"{world.key.name} ({world.key.prefix})"

    return do


def _of(target: str, work: Callable[[World], None]) -> Callable[[World], str]:
    def do(world: World) -> str:
        work(world)
        return target

    return do


def _model_by_command(world: World, *args: str) -> None:
    world.command("addmodel", "gpt", "--upstream", "https://u:pw@host/v1?api_key=" + SECRET, *args)


def _project_page(world: World) -> str:
    return f"project/{world.project.pk}/change/"


def _model_page(world: World) -> str:
    return f"servedmodel/{world.model.pk}/change/"


def _delete_empty(world: World) -> None:
    empty = get_project(name="empty")
    AuditEntry.objects.all().delete()
    world.save(f"project/{empty.pk}/delete/", {"post": "yes"})


def _disable_by_command(world: World) -> None:
    for _ in range(2):
        world.command("removemodel", "small", "--disable")


def _enable_by_command(world: World) -> None:
    ServedModel.objects.update(enabled=False)
    args = ("--source", "/models/small", "--force")
    for _ in range(2):
        world.command("addmodel", "small", *args, "--engine-args=--max-model-len 4096")


def _new_member(role: str = "viewer") -> dict[str, Any]:
    return {"user": make_person("bob").pk, "role": role}


SECRET_ARGS = f"--hf-token {SECRET} --max-model-len 8192"

# The deed, the door, what is done (it returns the target), what the details must say.
DEEDS: list[tuple[str, str, Callable[[World], str], dict[str, Any]]] = [
    ("batch.create", "api", _make_by_api, {"input_file_id": "file-x"}),
    ("batch.cancel", "api", _cancel_by_api, {"status": "in_progress"}),
    ("batch.cancel", "page", _cancel_by_page, {"status": "in_progress"}),
    ("batch.cancel", "admin", _cancel_by_admin, {"status": "in_progress"}),
    ("batch.delete", "admin", _delete_by_admin, {"status": "completed", "requests": 1}),
    ("batch.delete", "admin", _delete_from_list, {"status": "completed"}),
    ("key.create", "admin", _key_by_admin, {"requests_per_minute": 5, "expires_at": None}),
    ("key.create", "shell", _key_by_command, {"requests_per_minute": 5, "expires_at": None}),
    (
        "key.revoke",
        "admin",
        _of_key(lambda w: w.act("projectkey", "revoke", w.key.prefix)),
        {},
    ),
    (
        "key.change",
        "admin",
        _of_key(lambda w: w.act("projectkey", "set_limit", w.key.prefix, requests_per_minute="7")),
        {"requests_per_minute": {"old": None, "new": 7}},
    ),
    (
        "project.limits",
        "admin",
        _of("ours", lambda w: w.save(_project_page(w), w.project_form(max_live_batches=9))),
        {"changes": {"max_live_batches": {"old": None, "new": 9}}},
    ),
    (
        "project.change",
        "admin",
        _of(
            "ours",
            lambda w: w.save(
                _project_page(w), w.project_form(webhook_url=f"https://h.example.org/{SECRET}")
            ),
        ),
        {"changes": {"webhook_url": {"old": "", "new": f"https://h.example.org/{HIDDEN}"}}},
    ),
    (
        "project.create",
        "admin",
        _of(
            "new",
            lambda w: w.save(
                "project/add/",
                {
                    "name": "new",
                    "max_live_batches": 3,
                    "membership_set-TOTAL_FORMS": 0,
                    "membership_set-INITIAL_FORMS": 0,
                },
            ),
        ),
        {"changes": {"max_live_batches": {"old": None, "new": 3}}},
    ),
    ("project.delete", "admin", _of("empty", _delete_empty), {}),
    (
        "member.add",
        "admin",
        _of("bob", lambda w: w.save(_project_page(w), w.project_form({}, _new_member()))),
        {"role": "viewer"},
    ),
    (
        "member.change",
        "admin",
        _of("ada", lambda w: w.save(_project_page(w), w.project_form({"role": "owner"}))),
        {"role": {"old": "member", "new": "owner"}},
    ),
    (
        "member.remove",
        "admin",
        _of("ada", lambda w: w.save(_project_page(w), w.project_form({"DELETE": "on"}))),
        {"role": "member"},
    ),
    (
        "model.create",
        "shell",
        _of("gpt", lambda w: _model_by_command(w, "--upstream-key-env", SECRET)),
        {
            "changes": {
                "upstream_url": {"old": None, "new": f"https://host/v1{HIDDEN}"},
                "upstream_key_env": {"old": None, "new": HIDDEN},
            }
        },
    ),
    (
        "model.create",
        "admin",
        _of(
            "two",
            lambda w: w.save("servedmodel/add/", w.model_form(name="two", engine_args=SECRET_ARGS)),
        ),
        {"changes": {"engine_args": {"old": None, "new": "--hf-token … --max-model-len 8192"}}},
    ),
    (
        "model.change",
        "admin",
        _of("small", lambda w: w.save(_model_page(w), w.model_form(engine_args=SECRET_ARGS))),
        {
            "changes": {
                "engine_args": {
                    "old": "--max-model-len 4096",
                    "new": "--hf-token … --max-model-len 8192",
                }
            }
        },
    ),
    (
        "model.change",
        "shell",
        _of(
            "small",
            lambda w: w.command(
                "addmodel",
                "small",
                "--source=/models/small",
                "--force",
                f"--engine-args={SECRET_ARGS}",
            ),
        ),
        {"changes": {"engine_args": {"old": "--max-model-len 4096"}}},
    ),
    (
        "model.disable",
        "admin",
        _of("small", lambda w: w.save(_model_page(w), w.model_form(enabled=None))),
        {},
    ),
    ("model.disable", "shell", _of("small", _disable_by_command), {}),
    ("model.enable", "shell", _of("small", _enable_by_command), {}),
    (
        "model.remove",
        "admin",
        _of("small", lambda w: w.save(f"servedmodel/{w.model.pk}/delete/", {"post": "yes"})),
        {},
    ),
    (
        "model.remove",
        "admin",
        _of("small", lambda w: w.act("servedmodel", "delete_selected", w.model.pk, post="yes")),
        {},
    ),
    ("model.remove", "shell", _of("small", lambda w: w.command("removemodel", "small")), {}),
]


def _holds(found: Any, wanted: Any) -> bool:
    """Say whether all that is wanted is found, which may be more."""
    if isinstance(wanted, dict):
        return all(name in found and _holds(found[name], one) for name, one in wanted.items())
    return bool(found == wanted)


@pytest.mark.parametrize(
    ("action", "door", "work", "details"),
    DEEDS,
    ids=[f"{n}-{deed[0]}-{deed[1]}" for n, deed in enumerate(DEEDS)],
)
def test_each_deed_has_one_entry_with_its_actor_and_no_secret(world, action, door, work, details):
    target = work(world)
    (entry,) = AuditEntry.objects.all()
    actor = {"api": world.key_words, "shell": SHELL}.get(door, "root")
    assert (entry.action, entry.actor, entry.target) == (action, actor, target)
    assert entry.user == (world.root if actor == "root" else None)
    assert _holds(entry.details, details), entry.details
    assert abs((timezone.now() - entry.created_at).total_seconds()) < 60
    if action.split(".")[0] not in ("model", "project"):
        assert entry.project == world.project
    written = json.dumps([entry.actor, entry.target, entry.details])
    for secret in (SECRET, "pw@", *(one.partition(".")[2] for one in world.seen)):
        assert secret and secret not in written


def test_another_user_in_a_members_row_is_two_deeds(world):
    bob = make_person("bob")
    world.save(_project_page(world), world.project_form({"user": bob.pk}))
    assert list(world.project.members.all()) == [bob]
    found = AuditEntry.objects.order_by("pk").values_list("action", "target")
    assert list(found) == [("member.remove", "ada"), ("member.add", "bob")]


def test_what_does_not_happen_is_not_noted(world):
    world.save(_project_page(world), world.project_form())
    world.save(_model_page(world), world.model_form())
    done = _ended(world)
    world.act("batch", "cancel", done.pk)
    world.act("projectkey", "set_limit", world.key.prefix, requests_per_minute="many")
    world.act("projectkey", "set_limit", world.key.prefix, requests_per_minute="")
    make_batch(project=world.project, open_lines=1)
    # A live batch names the model.
    world.admin.post(f"/admin/jobs/servedmodel/{world.model.pk}/delete/", {"post": "yes"})
    assert ServedModel.objects.filter(name="small").exists()
    assert not AuditEntry.objects.exists()


def test_a_deed_that_fails_leaves_no_entry(world, monkeypatch):
    monkeypatch.setattr("jobs.services.batches.async_task", lambda *a, **k: 1 / 0)
    client = Client(raise_request_exception=False)
    order = {
        "input_file_id": "file-x",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    done = client.post(
        "/v1/batches",
        json.dumps(order),
        content_type="application/json",
        headers={"Authorization": f"Bearer {world.secret}"},
    )
    assert done.status_code == 500
    assert not AuditEntry.objects.exists() and not Batch.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_deed_cannot_be_noted_beside_its_transaction(db):
    with pytest.raises(RuntimeError, match="in the transaction"):
        note_deed(action="x.y", target="z")


def test_entries_outlive_whom_and_what_they_name(world):
    gone = get_project(name="gone")
    AuditEntry.objects.all().delete()
    world.save(f"project/{gone.pk}/delete/", {"post": "yes"})
    world.root.delete()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.user, entry.target, entry.project) == ("root", None, "gone", None)


def test_limits_are_changed_by_superusers_and_seen_by_others_of_the_staff(world):
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="jobs"))
    client = Client()
    client.force_login(staff)
    address = f"/admin/jobs/project/{world.project.pk}/change/"
    page = client.get(address).content.decode()
    assert "Max live batches" in page and 'name="max_live_batches"' not in page
    assert "live batches: 0 of 1,000" in page
    assert client.post(address, world.project_form(max_live_batches=9)).status_code == 302
    form = {"action": "set_limit", "_selected_action": world.key.prefix, "requests_per_minute": "9"}
    client.post("/admin/jobs/projectkey/", form)
    world.project.refresh_from_db()
    world.key.refresh_from_db()
    assert (world.project.max_live_batches, world.key.requests_per_minute) == (None, None)
    assert 'name="max_live_batches"' in world.admin.get(address).content.decode()


def test_the_list_is_filtered_and_for_superusers_alone(world):
    _cancel_by_page(world)
    world.act("projectkey", "revoke", world.key.prefix)
    address = "/admin/jobs/auditentry/"
    by_action = world.admin.get(address, {"action": "key.revoke"}).context["cl"]
    assert [one.action for one in by_action.result_list] == ["key.revoke"]
    project = world.admin.get(address, {"project__id__exact": world.project.pk}).context["cl"]
    assert project.result_count == 2
    later = {"created_at__gte": (timezone.now() + timedelta(days=1)).isoformat()}
    assert world.admin.get(address, later).context["cl"].result_count == 0
    assert b"today" in world.admin.get(address).content.lower()
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="jobs"))
    client = Client()
    client.force_login(staff)
    assert client.get(address).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", ""),
        ("--max-model-len 8192 --dtype bfloat16", "--max-model-len 8192 --dtype bfloat16"),
        ("--gpu-memory-utilization=0.9 -O3", "--gpu-memory-utilization=0.9 -O3"),
        ("--enforce-eager --max-num-batched-tokens 16k", None),
        ("--api-key abc", f"--api-key {HIDDEN}"),
        ("--api-key=a --seed 1", f"--api-key={HIDDEN} --seed 1"),
        ("--hf-token abc def", f"--hf-token {HIDDEN} {HIDDEN}"),
        ("--tokenizer auto", None),
        (f"--served-model-name {SECRET}", f"--served-model-name {HIDDEN}"),
        ("""--hf-overrides '{"token": "x"}'""", f"--hf-overrides {HIDDEN}"),
        ("--db-password hunter2", f"--db-password {HIDDEN}"),
        (f"{SECRET}", HIDDEN),
        ("'", HIDDEN),
    ],
)
def test_engine_arguments_are_told_by_name(arguments, told):
    assert told_arguments(arguments) == (arguments if told is None else told)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://host/v1", "https://host/v1"),
        ("http://user:pw@host:8000/v1?key=x#y", f"http://host:8000/v1{HIDDEN}"),
        ("http://h:port/", HIDDEN),
        ("", ""),
    ],
)
def test_addresses_are_told_without_what_lets_one_in(address, told):
    assert told_address(address) == told


def test_names_of_variables_are_told_and_keys_in_their_place_are_not():
    assert told_value("upstream_key_env", "OPENAI_API_KEY") == "OPENAI_API_KEY"
    assert told_value("upstream_key_env", "sk-abc") == HIDDEN
    assert told_value("webhook_url", "https://hooks.example.org") == "https://hooks.example.org/"
