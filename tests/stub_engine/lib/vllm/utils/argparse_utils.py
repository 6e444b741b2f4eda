"""The class from which vLLM makes its parser."""

from __future__ import annotations

from argparse import ArgumentParser


class FlexibleArgumentParser(ArgumentParser):
    """As argparse has it; vLLM's takes underscores for dashes as well."""
