"""The search command: options, plan, protocol, oracles, study folder, TensorBoard."""

from study.search.command import main

__all__ = ["main"]
