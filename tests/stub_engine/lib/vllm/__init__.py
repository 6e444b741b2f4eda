"""Stands in for vLLM in tests: the same server command and answers, without a model."""

__version__ = "0.32.0"
