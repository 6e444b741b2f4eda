"""A whole product in a temporary folder: database, web, worker and stub engines, as processes."""

from tests.stack.invariants import Results, check_finished, check_nobody_left
from tests.stack.lines import chat_line, chat_lines, expected_text
from tests.stack.processes import Process
from tests.stack.product import Stack

__all__ = [
    "Process",
    "Results",
    "Stack",
    "chat_line",
    "chat_lines",
    "check_finished",
    "check_nobody_left",
    "expected_text",
]
