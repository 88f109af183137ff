"""Many studies: what moves how much, which optimizer in general, pair by pair (a command)."""

from study.compare.command import main

__all__ = ["main"]
