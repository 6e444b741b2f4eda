"""What is measured, the runs that measured it, and what they are held against."""

from benchmarks.models.runs import (
    Baseline,
    Run,
    RunKind,
    RunPart,
    RunState,
)
from benchmarks.models.workloads import Workload

__all__ = ["Baseline", "Run", "RunKind", "RunPart", "RunState", "Workload"]
