"""Several studies together: what moves how much, which optimizer in general, pair by pair."""

from study.compare.command import main

__all__ = ["main"]
