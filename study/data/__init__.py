"""A folder -> checked images -> seeded splits."""

from study.data.command import main

__all__ = ["main"]
