"""The version of the product."""

from __future__ import annotations

VERSION = "1.0.0"
