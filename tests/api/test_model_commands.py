"""The commands of the terminal for models: `addmodel`, `listmodels`, `removemodel`."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from jobs.engines.environment import engine_environment
from jobs.management.commands.addmodel import Command as AddModel
from jobs.models import Batch, Lane, LaneModel, ServedModel
from jobs.services.lanes import note_load_failure
from jobs.states import EngineState
from tests.api.conftest import lines

pytestmark = pytest.mark.django_db

STUB = Path(__file__).parents[1] / "stub_engine" / "python"


@pytest.fixture(autouse=True)
def _stub_engine(settings, monkeypatch):
    monkeypatch.setenv("VBATCH_STUB_PYTHON", sys.executable)
    settings.ENGINE_PYTHON = str(STUB)
    engine_environment.cache_clear()
    yield
    engine_environment.cache_clear()


@pytest.fixture
def folders(tmp_path):
    """Two folders that look like models."""
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (folder / "model.safetensors").write_bytes(bytes(10))
    return [str(folder) for folder in made]


def run(command: str, *args: str) -> str:
    out = io.StringIO()
    call_command(command, *args, stdout=out, stderr=out)
    return out.getvalue()


def refused(command: str, *args: str) -> str:
    with pytest.raises(CommandError) as end:
        run(command, *args)
    return str(end.value)


# --- addmodel --------------------------------------------------------------------------------


def test_a_change_is_told_field_by_field(folders):
    one = folders[0]
    said = run("addmodel", "llama", "--source", one, "--engine-args", "--max-model-len 9")
    assert "Checking the arguments with vLLM ..." in said
    assert "Model 'llama' is entered." in said
    changed = ("--alias", "lora", "--engine-args=--enforce-eager")
    said = run("addmodel", "llama", "--source", one, *changed)
    assert said.split("is changed:\n")[1].splitlines()[:2] == [
        "  engine arguments: --max-model-len 9 -> --enforce-eager",
        "  aliases: (none) -> lora",
    ]
    assert "goes on as it was started" in said
    assert "was entered like this already" in run("addmodel", "llama", "--source", one, *changed)
    model = ServedModel.objects.get()
    assert (model.aliases, model.engine_args) == (["lora"], "--enforce-eager")


def test_a_name_stands_for_another_model_only_on_request(folders, lane):
    one, two = folders
    run("addmodel", "llama", "--source", one)
    model = ServedModel.objects.get(name="llama")
    Lane.objects.update(engine_model=model, engine_state=EngineState.READY)
    for origin in (("--source", two), ("--upstream", "http://gpu7:8000/v1")):
        said = refused("addmodel", "llama", *origin, "--alias", "lora")
        assert f"  source: {one} -> {two if origin[1] == two else '(none)'}" in said
        assert "Nothing was changed. With --replace" in said
        assert "answers that are finished stay what they were" in said
        model.refresh_from_db()
        assert (model.source, model.upstream_url, model.aliases) == (one, "", [])
    assert f"source: {one} -> {two}" in run("addmodel", "llama", "--source", two, "--replace")
    model.refresh_from_db()
    assert model.source == two
    # By this the supervisor knows that the engine holds another model by now.
    assert Lane.objects.get().engine_model is None
    said = run("addmodel", "llama", "--upstream", "http://gpu7:8000/v1", "--replace")
    assert "upstream: (none) -> http://gpu7:8000/v1" in said


def test_new_arguments_leave_the_running_engine_and_end_the_wait_after_a_failure(folders, lane):
    one = folders[0]
    run("addmodel", "llama", "--source", one)
    model = ServedModel.objects.get(name="llama")
    Lane.objects.update(engine_model=model, engine_state=EngineState.READY)
    note_load_failure(lane_id=lane.lane.pk, model_id=model.pk, reason="no memory")
    before = LaneModel.objects.get().retry_at
    run("addmodel", "llama", "--source", one, "--engine-args=--enforce-eager")
    assert Lane.objects.get().engine_model == model
    assert LaneModel.objects.get().retry_at < before


def test_an_unknown_argument_is_refused_in_vllms_words_unless_forced(folders):
    wrong = ("addmodel", "llama", "--source", folders[0], "--engine-args", "--max-modellen 9")
    assert refused(*wrong).splitlines() == [
        "vLLM refuses the arguments: unrecognized arguments: --max-modellen 9",
        "Nothing was changed; --force enters it anyway.",
    ]
    assert not ServedModel.objects.exists()
    run(*wrong, "--force")
    assert ServedModel.objects.get().engine_args == "--max-modellen 9"


def test_without_an_engine_environment_arguments_are_checked_later(folders, settings):
    settings.ENGINE_PYTHON = "/none/python"
    engine_environment.cache_clear()
    said = run("addmodel", "llama", "--source", folders[0], "--engine-args", "--max-modellen 9")
    assert "There is no vLLM here; vLLM checks the arguments when it first loads" in said
    assert ServedModel.objects.get().engine_args == "--max-modellen 9"


@pytest.mark.django_db(transaction=True)
def test_one_argument_for_the_engine_needs_no_equals_sign(folders, capsys):
    argv = ["manage.py", "addmodel", "llama", "--source", folders[0]]
    AddModel().run_from_argv([*argv, "--engine-args", "--enforce-eager", "--alias", "a"])
    model = ServedModel.objects.get()
    assert (model.engine_args, model.aliases) == ("--enforce-eager", ["a"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "--upstream", "http://h/v1"], "name: This field cannot be blank."),
        (["n" * 201, "--upstream", "http://h/v1"], "at most 200 characters"),
        (["x", "--upstream", "ftp://h/v1"], "is not a URL"),
        (["x", "--upstream", "http://h:port/v1"], "is not a URL"),
        (["x", "--upstream", f"http://h/{'v' * 500}"], "is not a URL"),
        (["x", "--upstream", "http://h/v1", "--concurrency", "0"], "at least 1"),
        (["x", "--source", "/none"], "There is no folder /none."),
        (["x", "--source", ".", "--engine-args", "'"], "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said):
    assert said in refused("addmodel", *arguments)
    assert not ServedModel.objects.exists()


# --- listmodels ------------------------------------------------------------------------------


def test_every_model_is_shown_with_how_it_stands(model, lane, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    run("addmodel", "gpt", "--upstream", "http://gpu7:8000/v1", "--upstream-model", "g")
    run("removemodel", "gpt", "--disable")
    Lane.objects.update(engine_model=model, engine_state=EngineState.STARTING)
    note_load_failure(lane_id=lane.lane.pk, model_id=model.pk, reason="[red] no memory")
    rows = [[cell.strip() for cell in row.split("│")] for row in run("listmodels").splitlines()]
    gpt, small = (row[1:-1] for row in rows if len(row) > 5)
    assert gpt == ["gpt", "", "http://gpu7:8000/v1 (g)", "64 at once", "no", "", ""]
    assert small[:6] == [
        "small",
        "small-lora",
        "/models/small",
        "",
        "yes",
        "testhost/cpu (starting)",
    ]
    assert small[6].startswith("testhost/cpu: [red] no memory; next try at 20")


def test_no_model_says_how_to_enter_one():
    assert "manage.py addmodel NAME --source" in run("listmodels")


def test_listing_costs_the_same_however_many_there_are(model, lane, django_assert_num_queries):
    # Lanes, failures, models.
    for count in (1, 20):
        for number in range(count):
            ServedModel.objects.get_or_create(name=f"m{number}", source="/x")
        with django_assert_num_queries(3):
            run("listmodels")


# --- removemodel -----------------------------------------------------------------------------


def test_a_model_that_live_batches_name_stays(api, model):
    made = [api.make(lines(1))["id"] for _ in range(7)]
    said = refused("removemodel", "small")
    assert "Nothing was removed: 7 live batches name 'small':" in said
    assert [one in said for one in made] == [True] * 5 + [False] * 2
    assert "and 2 more" in said
    assert "manage.py removemodel small --disable" in said
    assert ServedModel.objects.filter(name="small").exists()


def test_a_removed_model_leaves_its_answers(api, model, lane):
    made = api.make(lines(2))
    lane.answer()
    assert "is removed" in run("removemodel", "small")
    assert not ServedModel.objects.exists()
    batch = api.get(f"/v1/batches/{made['id']}").json()
    assert (batch["status"], batch["model"]) == ("completed", "small")
    content = api.get(f"/v1/files/{batch['output_file_id']}/content")
    assert len(b"".join(content.streaming_content).splitlines()) == 2
    # A supervisor that was just loading it has nothing left to note.
    note_load_failure(lane_id=lane.lane.pk, model_id=model.pk, reason="killed")
    assert "There is no model 'small'" in refused("removemodel", "small")


def test_a_model_that_is_switched_off_comes_back_by_the_command_that_is_shown(api, model):
    ServedModel.objects.update(engine_args="--max-model-len 9", source="/models/the small")
    made = api.make(lines(1))
    said = run("removemodel", "small", "--disable")
    waits = api.get(f"/v1/batches/{made['id']}").json()["waiting_for"]
    assert Batch.objects.get().is_live and waits
    assert not ServedModel.objects.get().enabled
    words = shlex.split(said.splitlines()[-1])
    assert words[:2] == ["manage.py", "addmodel"]
    assert "switched on: no -> yes" in run("addmodel", *words[2:], "--force")
    again = ServedModel.objects.get()
    assert (again.enabled, again.aliases, again.engine_args, again.source) == (
        True,
        ["small-lora"],
        "--max-model-len 9",
        "/models/the small",
    )
