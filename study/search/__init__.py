"""The search command: options, plan, protocol, oracles, and the folder of a study."""

from study.search.command import main

__all__ = ["main"]
