"""What can be known of a model's source before an engine loads it."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

_HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")
_PATHS = ("/", "./", "../", "~")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
# Besides its weights an engine needs room for the KV cache and what it computes with.
OVERHEAD = 1.2


@dataclass(slots=True)
class SourceReport:
    """What is wrong with a source (`errors`), what could not be told (`warnings`)."""

    weight_bytes: int | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def inspect_source(source: str) -> SourceReport:
    """Look at a folder, or ask the hub about an id."""
    if source.startswith(_PATHS) or Path(source).is_dir():
        return _inspect_folder(Path(source).expanduser())
    if not _HUB_ID.fullmatch(source):
        return SourceReport(errors=[f"'{source}' is neither a folder nor a hub id (owner/name)."])
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return SourceReport(warnings=["HF_HUB_OFFLINE is set: the hub was not asked."])
    return _inspect_hub(source)


def check_there(source: str) -> None:
    """Raise FileNotFoundError for a path that has gone; vLLM would take it for a hub id."""
    if source.startswith(_PATHS) and not Path(source).expanduser().exists():
        raise FileNotFoundError(f"There is no folder {source}.")


def _inspect_folder(folder: Path) -> SourceReport:
    report = SourceReport()
    if not folder.is_dir():
        report.errors.append(f"There is no folder {folder}.")
        return report
    if not (folder / "config.json").is_file() and not (folder / "params.json").is_file():
        report.errors.append(
            f"{folder} holds no config.json: give the folder of a model in the Hugging Face format."
        )
    sizes = [p.stat().st_size for p in folder.iterdir() if p.suffix in _WEIGHTS]
    if not sizes:
        report.errors.append(f"{folder} holds no weights (*.safetensors).")
    report.weight_bytes = sum(sizes)
    return report


def _inspect_hub(source: str) -> SourceReport:
    report = SourceReport()
    token = os.environ.get("HF_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{_HUB}/api/models/{source}?blobs=true", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            found = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            report.errors.append(f"The hub knows no model '{source}'.")
        elif error.code in (401, 403):
            report.errors.append(
                f"The hub does not show '{source}': it does not exist, or is private or gated. "
                f"Accept its terms at {_HUB}/{source} and set HF_TOKEN for the worker."
            )
        else:
            report.warnings.append(f"The hub answered with HTTP {error.code}.")
        return report
    except (OSError, ValueError) as error:
        report.warnings.append(f"The hub could not be asked: {error}.")
        return report
    if found.get("gated") and not token:
        report.errors.append(
            f"'{source}' is gated. Accept its terms at {_HUB}/{source} and set HF_TOKEN for the "
            "worker."
        )
    files = found.get("siblings", [])
    safetensors = [f for f in files if f.get("rfilename", "").endswith(".safetensors")]
    report.weight_bytes = sum(f.get("size") or 0 for f in safetensors) or None
    return report


def fits(weight_bytes: int, memory_bytes: int) -> bool:
    """Tell whether weights of this size can be served from this much memory."""
    return weight_bytes * OVERHEAD < memory_bytes
