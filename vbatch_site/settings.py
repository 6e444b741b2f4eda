"""All settings of vbatch, read from the environment once and checked together at start."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Any

import dj_database_url
from environs import Env, EnvError, EnvValidationError, validate
from marshmallow import ValidationError

from vbatch_site.logs import logging_config
from vbatch_site.secret import load_secret_key
from vbatch_site.version import VERSION

BASE_DIR = Path(__file__).resolve().parent.parent

# Not eager: every wrong value is collected, then reported in one message by `env.seal()`.
env = Env(eager=False)
env.read_env(BASE_DIR / ".env", recurse=False)


def _seconds(value: float) -> None:
    if value <= 0:
        raise ValidationError("must be greater than 0")


def _http_address(value: str) -> None:
    if value and not re.fullmatch(r"https?://[^/\s]+/?", value):
        raise ValidationError("must be an address such as https://s3.example.org:9000")


# It names queues and files; a queue's name has room for a hundred characters.
WORKER_NAME_FORM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _worker_name(value: str) -> None:
    if value and not re.fullmatch(WORKER_NAME_FORM, value):
        raise ValidationError("must be letters, digits, dots and dashes, at most 64")


def _networks(values: list[str]) -> None:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            raise ValidationError(f"must be networks such as 10.0.0.0/8: {error}") from error


# --- Where things are ------------------------------------------------------------------------
DATA_DIR = Path(env.str("VBATCH_DATA_DIR", "") or BASE_DIR / "var").expanduser().resolve()
FILES_DIR = DATA_DIR / "files"
LOG_DIR = DATA_DIR / "log"
RUN_DIR = DATA_DIR / "run"
MODELS_DIR = DATA_DIR / "models"

# --- Stored files on S3; credentials come by AWS's own variables, files or roles ------------------
S3_BUCKET = env.str("VBATCH_S3_BUCKET", "")
S3_ENDPOINT = env.str("VBATCH_S3_ENDPOINT", "", validate=_http_address)
S3_REGION = env.str("VBATCH_S3_REGION", "")
S3_PREFIX = env.str("VBATCH_S3_PREFIX", "")
# By default the bucket stands in the path for a server of one's own, in the host name for AWS.
S3_ADDRESSING = env.str(
    "VBATCH_S3_ADDRESSING", "", validate=validate.OneOf(["", "path", "virtual"])
)

# --- Web -------------------------------------------------------------------------------------
DEBUG = env.bool("VBATCH_DEBUG", False)
HOST = env.str("VBATCH_HOST", "127.0.0.1")
PORT = env.int("VBATCH_PORT", 8000, validate=validate.Range(min=1, max=65535))
# Threads, not processes, carry concurrent requests: a slow download must not block the API.
WEB_WORKERS = env.int("VBATCH_WEB_WORKERS", 2, validate=validate.Range(min=1, max=64))
WEB_THREADS = env.int("VBATCH_WEB_THREADS", 8, validate=validate.Range(min=1, max=256))
EXTRA_ALLOWED_HOSTS: list[str] = env.list("VBATCH_ALLOWED_HOSTS", [])
EXTRA_CSRF_ORIGINS: list[str] = env.list("VBATCH_CSRF_TRUSTED_ORIGINS", [])
BEHIND_TLS_PROXY = env.bool("VBATCH_BEHIND_TLS_PROXY", False)
# Who may read /metrics without an API key; never through a proxy, whose address is no proof.
METRICS_NETWORKS = env.list(
    "VBATCH_METRICS_NETWORKS", ["127.0.0.0/8", "::1/128"], validate=_networks
)
LOG_LEVEL = env.str(
    "VBATCH_LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])
)

# --- Limits ----------------------------------------------------------------------------------
MAX_FILE_BYTES = env.int("VBATCH_MAX_FILE_BYTES", 200 * 1024 * 1024, validate=validate.Range(min=1))
MAX_LINES = env.int("VBATCH_MAX_LINES", 50_000, validate=validate.Range(min=1))
MAX_LINE_BYTES = env.int(
    "VBATCH_MAX_LINE_BYTES", 16 * 1024 * 1024, validate=validate.Range(min=1_024)
)
MAX_EMBEDDING_INPUTS = env.int(
    "VBATCH_MAX_EMBEDDING_INPUTS", 50_000, validate=validate.Range(min=1)
)
MAX_FINDINGS = env.int("VBATCH_MAX_FINDINGS", 100, validate=validate.Range(min=1))
# Below this the server says that it is not ready.
MIN_FREE_DISK_BYTES = env.int(
    "VBATCH_MIN_FREE_DISK_BYTES", 512 * 1024 * 1024, validate=validate.Range(min=0)
)
# What a key or a project may take; 0 is no limit, and a field of the key or project goes before.
# Fifty requests a second: more than any client needs that pauses between its looks, and less than
# one that has lost its pause in a loop would send.
REQUESTS_PER_MINUTE = env.int("VBATCH_REQUESTS_PER_MINUTE", 3_000, validate=validate.Range(min=0))
# Every look at what runs reads the live batches.
MAX_LIVE_BATCHES = env.int("VBATCH_MAX_LIVE_BATCHES", 1_000, validate=validate.Range(min=0))
# A line is a row: so many are some tens of gigabytes of database.
MAX_QUEUED_REQUESTS = env.int(
    "VBATCH_MAX_QUEUED_REQUESTS", 5_000_000, validate=validate.Range(min=0)
)
MAX_QUEUED_TOKENS = env.int("VBATCH_MAX_QUEUED_TOKENS", 0, validate=validate.Range(min=0))
MAX_STORED_BYTES = env.int("VBATCH_MAX_STORED_BYTES", 0, validate=validate.Range(min=0))
FILE_EXPIRES_S = env.int("VBATCH_FILE_EXPIRES_S", 30 * 86_400, validate=validate.Range(min=3_600))
_DAYS = validate.Range(min=0, max=36_500)
# Days; 0 keeps for ever.
KEEP_BATCHES_DAYS = env.int("VBATCH_KEEP_BATCHES_DAYS", 0, validate=_DAYS)
KEEP_DELIVERIES_DAYS = env.int("VBATCH_KEEP_DELIVERIES_DAYS", 30, validate=_DAYS)
KEEP_AUDIT_DAYS = env.int("VBATCH_KEEP_AUDIT_DAYS", 365, validate=_DAYS)
KEEP_IDEMPOTENCY_KEYS_DAYS = env.int("VBATCH_KEEP_IDEMPOTENCY_KEYS_DAYS", 30, validate=_DAYS)
KEEP_TASKS_DAYS = env.int("VBATCH_KEEP_TASKS_DAYS", 7, validate=_DAYS)
KEEP_WORKERS_DAYS = env.int("VBATCH_KEEP_WORKERS_DAYS", 30, validate=_DAYS)
EXTRA_COMPLETION_WINDOWS: list[str] = env.list("VBATCH_EXTRA_COMPLETION_WINDOWS", [])
EXTRA_ENDPOINTS: list[str] = env.list("VBATCH_EXTRA_ENDPOINTS", [])

# Whether batches whose create does not say so take answers that are known.
REUSE_ANSWERS = env.bool("VBATCH_REUSE_ANSWERS", True)

# --- Webhooks --------------------------------------------------------------------------------
WEBHOOK_ALLOW: list[str] = env.list("VBATCH_WEBHOOK_ALLOW", [])
WEBHOOK_TRIES = env.int("VBATCH_WEBHOOK_TRIES", 12, validate=validate.Range(min=1, max=100))

# --- Engine ----------------------------------------------------------------------------------
ENGINE_PYTHON = env.str("VBATCH_ENGINE_PYTHON", "")
MEDIA_DOMAINS: list[str] = env.list("VBATCH_MEDIA_DOMAINS", [])
ENGINE_START_TIMEOUT_S = env.float("VBATCH_ENGINE_START_TIMEOUT_S", 1_800.0, validate=_seconds)
REQUEST_TIMEOUT_S = env.float("VBATCH_REQUEST_TIMEOUT_S", 3_600.0, validate=_seconds)
ENGINE_STALL_S = env.float("VBATCH_ENGINE_STALL_S", 300.0, validate=_seconds)
REQUEST_TRIES = env.int("VBATCH_REQUEST_TRIES", 5, validate=validate.Range(min=1, max=100))
CPU_KVCACHE_GIB = env.int("VBATCH_CPU_KVCACHE_GIB", 0, validate=validate.Range(min=0))

# --- Worker ----------------------------------------------------------------------------------
WORKER_NAME = (
    env.str("VBATCH_WORKER_NAME", "", validate=_worker_name)
    # Its name of before.
    or env.str("VBATCH_HOST_NAME", "", validate=_worker_name)
    or socket.gethostname()
)
GPUS = env.str("VBATCH_GPUS", "")
LEASE_S = env.float("VBATCH_LEASE_S", 15.0, validate=_seconds)
DRAIN_S = env.float("VBATCH_DRAIN_S", 25.0, validate=_seconds)

# No engine starts on a GPU that is hotter, or on one where others left it too little memory.
GPU_GATE = env.bool("VBATCH_GPU_GATE", True)
GPU_MAX_TEMPERATURE_C = env.float(
    "VBATCH_GPU_MAX_TEMPERATURE_C", 85.0, validate=validate.Range(min=0, max=150)
)

_time_zone = env.str("VBATCH_TIME_ZONE", "UTC")
_database_url = env.str("DATABASE_URL", "")
_secret_key = env.str("VBATCH_SECRET_KEY", "")

try:
    env.seal()
except (EnvError, EnvValidationError) as error:
    raise SystemExit(f"Settings are wrong, nothing was started. {error}") from error

SECRET_KEY = _secret_key or load_secret_key(DATA_DIR / "secret_key")

# --- Database --------------------------------------------------------------------------------
# One kind of database everywhere. Without DATABASE_URL the embedded server is started on the
# first connection, and again whenever it is found dead.
if _database_url:
    DATABASES = {"default": dj_database_url.parse(_database_url, conn_max_age=600)}
    if "postgresql" not in DATABASES["default"]["ENGINE"]:
        raise SystemExit(
            "DATABASE_URL must name a PostgreSQL database: postgresql://user@host/name"
        )
else:
    DATABASES = {
        "default": {
            "ENGINE": "vbatch_site.embedded_backend",
            "NAME": "vbatch",
            "CONN_MAX_AGE": 600,
        }
    }
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# A database host that vanishes without a word is noticed within half a minute.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # The other way round: without it a host that vanished in a transaction would keep its locks
    # for hours. Nothing happens on a UNIX socket.
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=14000",
    **DATABASES["default"].get("OPTIONS", {}),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Django ----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "vbatch_site.admin_site.VbatchAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_prometheus",
    "django_q",
    "django_htmx",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "vbatch_site",
    "jobs",
    "curation",
    "benchmarks",
    "monitoring",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "vbatch_site.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "jobs.views.acting.ActingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "vbatch_site.urls"
WSGI_APPLICATION = "vbatch_site.wsgi.application"
# API addresses have no trailing slash and a POST is never redirected.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LANGUAGE_CODE = "en-us"
TIME_ZONE = _time_zone
USE_I18N = False
USE_TZ = True
CACHES = {
    # Shared by processes and hosts: django-q2 keeps the heartbeats of its clusters here.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "django_cache",
    }
}

# --- Security --------------------------------------------------------------------------------
# Bound to every interface, the names under which this host is called are not known beforehand:
# any name is allowed then, unless the operator lists them.
_any_host = HOST in ("0.0.0.0", "::") and not EXTRA_ALLOWED_HOSTS
ALLOWED_HOSTS = (
    ["*"] if _any_host else ["127.0.0.1", "localhost", "[::1]", HOST] + list(EXTRA_ALLOWED_HOSTS)
)
CSRF_TRUSTED_ORIGINS = list(EXTRA_CSRF_ORIGINS)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "vbatch_site.logged_in"
AUTHENTICATION_BACKENDS = ["vbatch_site.logged_in.Users"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_NAME = "vbatch_session"
CSRF_COOKIE_NAME = "vbatch_csrf"
X_FRAME_OPTIONS = "DENY"
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Probes come past the proxy, over plain HTTP.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
else:
    # Plain HTTP on a trusted network is the normal case of a self-hosted server.
    SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
}

# --- Files -----------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
MEDIA_ROOT = FILES_DIR
STORAGES = {
    "default": {
        "BACKEND": "vbatch_site.s3_storage.StreamingS3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": S3_ENDPOINT or None,
            "region_name": S3_REGION or None,
            "location": S3_PREFIX.strip("/"),
            "addressing_style": S3_ADDRESSING or ("path" if S3_ENDPOINT else "auto"),
        },
    }
    if S3_BUCKET
    else {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# On the disk of the stored files, so that an upload is renamed into place and not copied.
FILE_UPLOAD_TEMP_DIR = FILES_DIR / "incoming"
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_PERMISSIONS = 0o600
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
for _folder in (FILE_UPLOAD_TEMP_DIR, LOG_DIR, RUN_DIR, MODELS_DIR):
    _folder.mkdir(parents=True, exist_ok=True)

# --- API -------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jobs.api.authentication.BearerKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["jobs.api.rendering.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "jobs.api.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "vbatch",
    "DESCRIPTION": "The OpenAI Batch API on your own GPUs.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    # In place of the hook that gives each set of choices a name of its own.
    "POSTPROCESSING_HOOKS": ["jobs.api.schema.describe_what_is_taken"],
    "SCHEMA_PATH_PREFIX": "/v1",
    # Routes of the site that are no part of the API, such as health, are left out.
    "PREPROCESSING_HOOKS": ["jobs.api.schema.only_v1"],
    "COMPONENT_SPLIT_REQUEST": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Task queue ------------------------------------------------------------------------------
# django-q2 rings the bell and runs short tasks. Who may work on what is decided by leases in
# our own tables, so a lost, late or doubled message changes nothing.
Q_CLUSTER_NAME = os.environ.get("Q_CLUSTER_NAME", "control")
Q_CLUSTER: dict[str, Any] = {
    "name": "control",
    "orm": "default",
    "broker_class": "jobs.doorbell.Doorbell",
    "workers": 2,
    "queue_limit": 2,
    "timeout": 600,
    "retry": 720,
    "max_attempts": 5,
    "ack_failures": False,
    "catch_up": False,
    "save_limit": -1,
    "recycle": 10**9,
    # Who finds nothing waits for a notification.
    "poll": 0,
    "guard_cycle": 0.5,
    "cache": "default",
    "label": "Tasks",
    "ALT_CLUSTERS": {},
}
# What the leading worker has done again and again: the task, what says that it is due, and how
# many seconds lie between two looks. Names, since apps further up the hill are called from jobs.
PERIODIC_TASKS = [
    ("curation.tasks.index_responses", "curation.services.search_index.anything_to_index", 2.0),
    (
        "curation.tasks.index_every_response",
        "curation.services.search_index.any_batch_to_index",
        300.0,
    ),
    ("curation.tasks.build_versions", "curation.services.dataset_build.anything_to_build", 5.0),
    ("curation.tasks.run_exports", "curation.services.exports.anything_to_export", 5.0),
    (
        "curation.tasks.run_star_imports",
        "curation.services.star_import.anything_to_import",
        5.0,
    ),
    ("benchmarks.tasks.go_on", "benchmarks.services.runs.anything_to_do", 2.0),
]
if Q_CLUSTER_NAME != "control":
    # A lane's cluster: one worker, whose task may run for hours.
    Q_CLUSTER["ALT_CLUSTERS"][Q_CLUSTER_NAME] = {
        "workers": 1,
        "queue_limit": 1,
        # Longer than any; a lane's task itself is enqueued with no limit at all.
        "timeout": 86_397,
        "retry": 86_400,
        "ack_failures": True,
        "scheduler": False,
    }

LOGGING = logging_config(level=LOG_LEVEL)
