"""One drawn figure."""

from typing import NamedTuple


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes
