"""Whether vLLM takes an operator's arguments, asked of its own parser before it loads a model."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from jobs.engines.command import engine_env
from jobs.engines.environment import engine_environment

# To import vLLM takes seven seconds, and far longer from a cold or distant disk.
TIMEOUT_S = 120.0
AT_FIRST_LOAD = "vLLM checks the arguments when it first loads the model"

# Runs in the engine's Python. The parser moved between versions of vLLM.
_ASK = """
import json, sys
try:
    from vllm.entrypoints.launchers import cli_args
except ImportError:
    from vllm.entrypoints.openai import cli_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

class Refused(Exception):
    pass

class Parser(FlexibleArgumentParser):
    def error(self, message):
        raise Refused(message)

parser = cli_args.make_arg_parser(Parser())
refusal = ""
try:
    cli_args.validate_parsed_serve_args(parser.parse_args(json.loads(sys.argv[1])))
except SystemExit:
    refusal = "with these it only prints its help or version, and ends"
except Exception as error:
    refusal = str(error) or type(error).__name__
print("\\n" + json.dumps(refusal))
"""


@dataclass(frozen=True, slots=True)
class ArgumentReport:
    """What vLLM says against the arguments (`error`), or why it was not asked (`warning`)."""

    error: str = ""
    warning: str = ""


def check_arguments(*, source: str, engine_args: str) -> ArgumentReport:
    """Ask vLLM's parser about `engine_args`, in a child process; takes some seconds."""
    environment = engine_environment()
    if not environment.version:
        return ArgumentReport(warning=f"There is no vLLM here; {AT_FIRST_LOAD}.")
    words = ["--model", source, *shlex.split(engine_args)]
    child = subprocess.Popen(
        [environment.python, "-c", _ASK, json.dumps(words)],
        env=engine_env(
            environment=environment,
            command=(),
            gpus=(),
            folder=Path(settings.RUN_DIR),
            base=os.environ,
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, complaint = child.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return ArgumentReport(warning=f"vLLM said nothing in {TIMEOUT_S:.0f} s; {AT_FIRST_LOAD}.")
    finally:
        # With whatever it started; Ctrl-C does not reach its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    try:
        return ArgumentReport(error=str(json.loads(out.strip().rpartition("\n")[2])))
    except ValueError:
        reason = complaint.strip().rpartition("\n")[2] or f"it ended with {child.returncode}"
        return ArgumentReport(warning=f"vLLM could not be asked ({reason}); {AT_FIRST_LOAD}.")
