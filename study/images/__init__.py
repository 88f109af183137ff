"""A folder -> checked images -> seeded splits."""

from study.images.command import main

__all__ = ["main"]
