"""What a figure is while it is drawn, and once it is.

Small multiples: a grid of panels with the same scales, one an optimizer, drawn quickly.

All panels live in one matplotlib axis measured in inches, because a dozen axes with their ticks
take ten times as long. A panel's data is scaled by hand and clipped to its frame.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import ArrayLike

from study.common.plot_look import FAINT, GRID, INK, MUTED, log_label, new_figure

Drawn = Iterable[tuple[str, str, str, Figure]]  # name, title, caption, figure

LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.2, 0.98, 0.6  # margins of the figure, inches
WIDE, TALL = 2.35, 1.42  # a panel
BESIDE, ABOVE = 0.2, 0.36  # between panels

Line = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]  # x and y, in inches


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes
    figure: Figure  # that the PNG shows


class AxisScale(NamedTuple):
    """What an axis of every panel shows."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool = False

    def __call__(self, values: ArrayLike) -> Float[np.ndarray, "..."]:
        """Data -> 0..1; below 0 or above 1 is outside the panel."""
        data = np.asarray(values, float)
        low, high = self.low, self.high
        if self.log:
            data = np.log(np.maximum(data, low / 1e6))
            low, high = np.log(low), np.log(high)
        return np.asarray((data - low) / (high - low))


def linear(low: float, high: float, *, percent: bool = False, whole: bool = False) -> AxisScale:
    """A linear scale with about five ticks."""
    high = high if high > low else low + 1
    found = MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = [float(t) for t in found if low - 1e-9 <= t <= high + 1e-9]
    labels = [f"{100 * t:.5g} %" if percent else f"{t:g}" for t in ticks]
    return AxisScale(low, high, tuple(ticks), tuple(labels))


def logarithmic(low: float, high: float) -> AxisScale:
    """A logarithmic scale with a tick every decade, or every other one."""
    high = high if high > low else low * 10
    first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
    step = max(1, -(-(last - first) // 4))
    ticks = [10.0**power for power in range(first, last + 1, step)] or [low, high]
    return AxisScale(low, high, tuple(ticks), tuple(map(log_label, ticks)), log=True)


class Panels:
    """A grid of panels.

    Args:
        titles: (name, colour) of each panel.
        title, subtitle: of the figure.
        xlabel: under the lowest panel of every column.
        across, up: scales; those of `across` may differ from panel to panel.
        columns: at most so many panels side by side, `wide` inches each, `beside` apart.
        legend: inches kept free below the subtitle.
    """

    def __init__(
        self,
        titles: Sequence[tuple[str, str]],
        title: str,
        subtitle: str,
        xlabel: str,
        across: AxisScale | Sequence[AxisScale],
        up: AxisScale,
        *,
        columns: int = 4,
        wide: float = WIDE,
        beside: float = BESIDE,
        legend: float = 0.0,
    ) -> None:
        self.columns, self.wide, self.beside = min(columns, len(titles)), wide, beside
        self.top = TOP + legend
        own = not isinstance(across, AxisScale)
        self.across = [across] * len(titles) if isinstance(across, AxisScale) else list(across)
        self.up = up
        self.above = ABOVE + (0.22 if own else 0)  # room for ticks under every panel
        rows = -(-len(titles) // self.columns)
        width = LEFT + max(RIGHT, beside / 2) + self.columns * (wide + beside) - beside
        height = self.top + BOTTOM + rows * TALL + (rows - 1) * self.above
        self.figure = new_figure(max(width, 6.5), height, title, subtitle)
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(xlim=(0, max(width, 6.5)), ylim=(0, height))
        self.axis.set_axis_off()
        self.axis.patch.set_visible(False)
        self._height = height
        self._rules: list[tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]] = []
        for place, (name, colour) in enumerate(titles):
            last = place >= len(titles) - self.columns
            self._frame(place, name, colour, ticks=own or last, xlabel=xlabel if last else "")
        self.axis.plot(*joined(self._rules), "-", color=GRID, lw=0.7, zorder=0.5)

    def corner(self, place: int) -> tuple[float, float]:
        """Left and lower end of a panel, inches."""
        row, column = divmod(place, self.columns)
        left = LEFT + column * (self.wide + self.beside)
        return left, self._height - self.top - TALL - row * (TALL + self.above)

    def _frame(self, place: int, name: str, colour: str, *, ticks: bool, xlabel: str) -> None:
        left, low = self.corner(place)
        across = self.across[place]
        text = self.axis.text
        text(left, low + TALL + 0.07, name, color=colour, weight="bold", size=9.5, va="bottom")
        self.axis.plot(
            [left, left, left + self.wide], [low + TALL, low, low], "-", color=FAINT, lw=0.8
        )
        for x in left + self.wide * across(across.ticks):
            self._rules.append((np.array([x, x]), np.array([low, low + TALL])))
        for y in low + TALL * self.up(self.up.ticks):
            self._rules.append((np.array([left, left + self.wide]), np.array([y, y])))
        if place % self.columns == 0:
            for y, label in zip(self.up(self.up.ticks), self.up.labels, strict=True):
                text(left - 0.05, low + TALL * y, label, ha="right", va="center", color=MUTED)
        if ticks:
            for x, label in zip(across(across.ticks), across.labels, strict=True):
                text(left + self.wide * x, low - 0.05, label, ha="center", va="top", color=MUTED)
        if xlabel:
            under = 0.22 + 0.14 * max(label.count("\n") for label in (*across.labels, ""))
            text(left + self.wide / 2, low - under, xlabel, ha="center", va="top", color=INK)

    def points(self, place: int, x: ArrayLike, y: ArrayLike) -> Line:
        """Data of a panel -> inches."""
        left, low = self.corner(place)
        return left + self.wide * self.across[place](x), low + TALL * self.up(y)

    def plot(self, place: int, x: ArrayLike, y: ArrayLike, *form: str, **kind: Any) -> None:
        """A line or markers in one panel, as `Axes.plot` has it, cut off at the frame."""
        (line,) = self.axis.plot(*self.points(place, x, y), *form, **kind)
        line.set_clip_box(self._clip(place))

    def band(self, place: int, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str) -> None:
        """The area between two curves."""
        across, lower = self.points(place, x, low)
        area = self.axis.fill_between(
            across, lower, self.points(place, x, high)[1], color=colour, alpha=0.18, lw=0
        )
        area.set_clip_box(self._clip(place))

    def _clip(self, place: int) -> TransformedBbox:
        left, low = self.corner(place)
        room = 0.05  # for markers on the frame
        box = Bbox([[left - room, low - room], [left + self.wide + room, low + TALL + room]])
        return TransformedBbox(box, self.axis.transData)


def joined(
    lines: Iterable[Line],
) -> Line:
    """Many lines as one, with gaps between them: one cheap artist instead of dozens."""
    gap = np.array([np.nan])
    parts = [(np.append(x, gap), np.append(y, gap)) for x, y in lines]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
