"""The tables of the Batch API and its workers."""

from jobs.models.batches import (
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    Suspect,
)
from jobs.models.files import UPLOAD_PURPOSES, Purpose, StoredFile
from jobs.models.fleet import Gpu, Lane, LaneModel, ServedModel, Worker
from jobs.models.projects import Membership, Project, ProjectKey, Role

__all__ = [
    "UPLOAD_PURPOSES",
    "Batch",
    "BatchEvent",
    "BatchRequest",
    "BatchResponse",
    "Chunk",
    "Gpu",
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
    "Worker",
]
