"""A small project of its own for the set-up: the real code, wheels of a few bytes, no network."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


class Project:
    """A copy of the set-up under `root`, with lists and an index folder that a test fills."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root.parent / "wheels"
        self.venv = root / ".venv"
        self.wheels.mkdir()
        package = root / "vbatch_site"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        shutil.copy(ROOT / "vbatch_site" / "bootstrap.py", package)
        shutil.copytree(
            ROOT / "vbatch_site" / "setup",
            package / "setup",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (root / "jobs" / "engines").mkdir(parents=True)
        shutil.copy(ROOT / "jobs" / "engines" / "sample_model.py", root / "jobs" / "engines")
        (root / "requirements").mkdir()
        for name in ("web", "dev", "cpu", "models", "torch-cpu"):
            (root / "requirements" / f"{name}.txt").write_text("")

    def wheel(self, name: str, version: str, files: Mapping[str, str] | None = None) -> str:
        """Put a wheel into the index folder; return its line for a list."""
        label = f"{name.replace('-', '_')}-{version}"
        path = self.wheels / f"{label}-py3-none-any.whl"
        module = name.replace("-", "_") + ".py"
        content = {
            module: f"version = {version!r}\n",
            **(files or {}),
            f"{label}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
            f"Version: {version}\n",
            f"{label}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(
            f"{file},sha256={_record_digest(text)},{len(text)}\n" for file, text in content.items()
        )
        record += f"{label}.dist-info/RECORD,,\n"
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in {**content, f"{label}.dist-info/RECORD": record}.items():
                archive.writestr(file, text)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return f"{name}=={version} \\\n    --hash=sha256:{digest}"

    def list(self, name: str, *lines: str) -> None:
        head = "# Download on Linux x86_64: 1 MB"
        (self.root / "requirements" / f"{name}.txt").write_text("\n".join([head, *lines]) + "\n")

    def environ(self, **more: str) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_NO_CACHE_DIR": "1",
            "VBATCH_ENGINE_BUILD": "none",
            **more,
        }

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "vbatch_site.bootstrap", *options]

    def set_up(self, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=self.root,
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def version_of(self, name: str) -> str:
        """Return the version that the environment imports, "" if it has none."""
        code = f"import {name.replace('-', '_')} as m; print(m.version)"
        result = subprocess.run(
            [self.venv / "bin" / "python", "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stdout.strip()

    @property
    def site_packages(self) -> Path:
        (folder,) = self.venv.glob("lib/python3.*/site-packages")
        return folder


def _record_digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")
