"""A folder, a table or a file of rows -> checked examples -> seeded splits."""

from study.data.command import main

__all__ = ["main"]
