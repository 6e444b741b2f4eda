"""The tables of the Batch API and its workers."""

from jobs.models.audit import AuditEntry
from jobs.models.batches import Batch, BatchEvent, Chunk
from jobs.models.files import UPLOAD_PURPOSES, Purpose, StoredFile, Upload, UploadPart
from jobs.models.fleet import Gpu, Installation, Lane, LaneModel, ServedModel, Worker
from jobs.models.lines import BatchRequest, BatchResponse, KnownAnswer, Suspect
from jobs.models.projects import Membership, Project, ProjectKey, Role
from jobs.models.webhooks import WebhookAttempt, WebhookDelivery

__all__ = [
    "UPLOAD_PURPOSES",
    "AuditEntry",
    "Batch",
    "BatchEvent",
    "BatchRequest",
    "BatchResponse",
    "Chunk",
    "Gpu",
    "Installation",
    "KnownAnswer",
    "Lane",
    "LaneModel",
    "Membership",
    "Project",
    "ProjectKey",
    "Purpose",
    "Role",
    "ServedModel",
    "StoredFile",
    "Suspect",
    "Upload",
    "UploadPart",
    "WebhookAttempt",
    "WebhookDelivery",
    "Worker",
]
