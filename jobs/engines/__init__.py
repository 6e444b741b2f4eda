"""The only place that knows vLLM: starting it, asking it, and reading what it says."""
