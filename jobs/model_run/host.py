"""What a run needs of the lane that it works for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Host(Protocol):
    lane_id: int

    async def db(self, call: Callable[..., Any], /, **kwargs: Any) -> Any:
        """Run a service in the lane's database thread."""

    async def tick(self) -> bool:
        """Say that the lane is at work; False once it has to stop."""

    async def engine_is_gone(self) -> bool:
        """True if the engine of this run is no longer the lane's ready engine."""

    async def engine_died(self) -> bool:
        """True if it ended by itself, and was not stopped on purpose."""

    async def reject_engine(self) -> None:
        """Have the engine of this run stopped, since it answers nothing any more."""

    async def may_go_on(self) -> bool:
        """False once another model's batch is due for the lane."""
