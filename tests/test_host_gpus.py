"""Which GPUs make lanes where nobody names them."""

from __future__ import annotations

import pytest

from jobs.host_gpus import GpusUnknown, left_visible

UUIDS = ["GPU-aa11", "GPU-aa22", "GPU-bb33"]


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        (" 1 , -1, 0", [1]),
        ("GPU-bb33,GPU-aa1", [2, 0]),
    ],
)
def test_lanes_are_made_of_the_gpus_that_are_visible(visible: str | None, left: list[int]) -> None:
    assert left_visible(UUIDS, visible) == left


@pytest.mark.parametrize("visible", ["3", "GPU-cc", "GPU-aa", "MIG-aa11"])
def test_a_gpu_that_is_not_there_is_an_error_not_a_cpu_lane(visible: str) -> None:
    with pytest.raises(GpusUnknown, match="--gpus"):
        left_visible(UUIDS, visible)
