"""What a figure is while it is drawn, and once it is."""

from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.figure import Figure

Drawn = Iterable[tuple[str, str, str, Figure]]  # name, title, caption, figure


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes
    figure: Figure  # that the PNG shows
