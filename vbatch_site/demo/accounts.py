"""The administrator, the API key and the model of a demo."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone

from jobs.models import ProjectKey, Role
from jobs.nvml import NoGpu, read_gpus
from jobs.services.login_links import create_login_token
from jobs.services.members import add_member
from jobs.services.projects import create_key, get_project
from jobs.services.served_models import save_model

ADMIN = "admin"
MODEL = "smollm2"
MODEL_FOLDER = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the demo shows once: `password` and `key` are None where they exist already."""

    password: str | None
    key: str | None
    login_token: str


def make_accounts() -> Accounts:
    """Make an administrator and a key if there are none, and a login link in any case."""
    users = get_user_model()
    project = get_project()
    admin = users.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    password = None
    if admin is None:
        password = secrets.token_urlsafe(12)
        admin = users.objects.create_superuser(username=ADMIN, password=password)
    add_member(project=project, user=admin, role=Role.OWNER)
    key = None
    if not ProjectKey.objects.filter(project=project, revoked=False, name="demo").exists():
        _, key = create_key(project=project, name="demo")
    return Accounts(password, key, create_login_token(user=admin))


def make_run_key() -> tuple[ProjectKey, str]:
    """Make a key for the sample batch of this run alone."""
    return create_key(
        project=get_project(),
        name="sample batch of a demo",
        expires_at=timezone.now() + timedelta(days=1),
    )


def make_model() -> str:
    """Enter the small model that the set-up prepared; return its folder."""
    folder = Path(settings.MODELS_DIR) / MODEL_FOLDER
    # The folder is another one where the data folder was moved.
    save_model(
        name=MODEL,
        replace=True,
        source=str(folder),
        engine_args=" ".join(_engine_args()),
        enabled=True,
    )
    return str(folder)


def _engine_args() -> list[str]:
    args = ["--max-model-len", "2048"]
    try:
        on_gpu = bool(read_gpus())
    except NoGpu:
        on_gpu = False
    if on_gpu:
        # A small model needs little, and the GPU may be in use.
        return [*args, "--gpu-memory-utilization", "0.3"]
    # Compiling would cost a minute at the first start and gain little on a CPU.
    return [*args, "--enforce-eager"]
