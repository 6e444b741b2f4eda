"""Reads the GPUs of this machine idle and under load: what each reading says, and what it takes.

`python -m benchmarks.harness.nvml_readings [--load]`; the load is a product of matrices in torch,
in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from jobs.nvml import read_gpus

_LOAD = """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
while True:
    for _ in range(50):
        a @ a
    torch.cuda.synchronize()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", action="store_true")
    load = None
    if parser.parse_args().load:
        load = subprocess.Popen([sys.executable, "-c", _LOAD])
        time.sleep(15)
    try:
        for _ in range(3):
            started = time.perf_counter()
            found = read_gpus()
            took_ms = (time.perf_counter() - started) * 1000
            print(json.dumps({"took_ms": round(took_ms, 1), "gpus": found}))
            time.sleep(2)
    finally:
        if load is not None:
            load.kill()
            load.wait()


if __name__ == "__main__":
    main()
