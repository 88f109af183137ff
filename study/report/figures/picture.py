"""What figures share: the `Picture`, scales, bars that may end in an arrow, small multiples.

Small multiples are panels with the same scales in one Matplotlib axis that is measured in inches; a
panel's data is scaled by hand and clipped to its frame. Subplots would be plainer, but the panels
of twelve optimizers took 0.8 s longer as subplots, and the whole report takes three.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import ArrayLike

from study.common.plot_look import (
    BAND,
    BEHIND,
    FAINT,
    GRID,
    INK,
    MUTED,
    Fonts,
    Mark,
    log_label,
    new_figure,
    readable,
    style,
    to_png,
)
from study.report.analysis.importance import Range
from study.report.figures.svg import says, to_svg

Drawn = Iterable[tuple[str, str, str, Figure]]  # name, title, caption, figure
Line = tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]  # x and y

FARTHEST = 6  # margins that an axis of bounds shows at most; longer bars end in an arrow
NEAREST = 1.25  # margins that it shows at least
LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.2, 0.98, 0.6  # margins of the figure, inches
WIDE, TALL = 2.35, 1.42  # a panel
BESIDE, ABOVE = 0.2, 0.36  # between panels
NARROWEST = 6.5  # inches of a figure, so that its title has room


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes
    svg: str  # for a page
    figure: Figure  # drawn in both

    @property
    def subtitle(self) -> str:
        """What the marks are; it stands in the PNG, and beside the SVG."""
        return self.figure.texts[1].get_text()


def finished(drawn: Drawn, fonts: Fonts, *, photos: Container[str] = ()) -> list[Picture]:
    """Return the pictures that a generator draws; those named in `photos` keep all colours."""
    found = []
    with style(fonts):
        for name, title, caption, figure in drawn:
            svg = to_svg(figure, name)
            for text in figure.findobj(Text):
                if to_hex(text.get_color()) != "#ffffff":  # white stands on coloured cells
                    text.set_color(readable(text.get_color(), "white"))
            png = to_png(figure, photos=name in photos)
            found.append(Picture(name, title, caption, png, svg, figure))
    return found


def bounds_end(bounds: Iterable[float], margin: float) -> float:
    """Return where an axis of bounds ends: past the longest one, but not too many margins away."""
    return 1.06 * max(min(max(bounds, default=0.0), FARTHEST * margin), NEAREST * margin)


def bar(
    axis: Axes, height: float, low: float, high: float, end: float, colour: str, **kind: Any
) -> None:
    """Draw a bar from `low` to `high`; one that reaches beyond `end` stops there in an arrow."""
    kind = {"color": colour, "solid_capstyle": "butt"} | kind
    axis.plot([low, min(high, end)], [height] * 2, "-", **kind)
    if high > end:
        axis.plot(end, height, ">", color=colour, ms=6, clip_on=False)


def write_beside(axis: Axes, height: float, text: str, inches: float, **kind: Any) -> None:
    """Write a text so many inches right of the axis."""
    kind = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"} | kind
    axis.annotate(text, (1, height), (72 * inches, 0), va="center", **kind)


class AxisScale(NamedTuple):
    """The range of an axis, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool = False

    def __call__(self, values: ArrayLike) -> Float[np.ndarray, "..."]:
        """Return data as 0..1; below 0 or above 1 it is outside the panel."""
        data = np.asarray(values, float)
        low, high = self.low, self.high
        if self.log:
            data = np.log(np.maximum(data, low / 1e6))
            low, high = np.log(low), np.log(high)
        return np.asarray((data - low) / (high - low))


def linear(low: float, high: float, *, percent: bool = False, whole: bool = False) -> AxisScale:
    """Return a linear scale with about five ticks."""
    high = high if high > low else low + 1
    found = MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = [float(t) for t in found if low - 1e-9 <= t <= high + 1e-9]
    labels = [f"{100 * t:.5g} %" if percent else f"{t:g}" for t in ticks]
    return AxisScale(low, high, tuple(ticks), tuple(labels))


def logarithmic(low: float, high: float) -> AxisScale:
    """Return a logarithmic scale with a tick for each decade or, of many, every other one."""
    high = high if high > low else low * 10
    first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
    step = max(1, -(-(last - first) // 4))
    ticks = [10.0**power for power in range(first, last + 1, step)] or [low, high]
    return AxisScale(low, high, tuple(ticks), tuple(map(log_label, ticks)), log=True)


def searched(across: Range) -> AxisScale:
    """Return the scale of a hyperparameter: the range and the scale of the search space."""
    if across.log and across.low > 0:
        return logarithmic(across.low / 1.2, across.high * 1.2)
    room = 0.04 * (across.high - across.low)
    return linear(across.low - room, across.high + room)


class Panels:
    """A grid of panels.

    Args:
        titles: (name, colour) of each panel.
        title: of the figure.
        subtitle: of the figure.
        xlabel: under the lowest panel of every column.
        across: scale of x; a sequence gives each panel its own.
        up: scale of y.
        columns: panels side by side at most.
        wide: inches of a panel.
        beside: inches between panels.
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
        self.width = max(width, NARROWEST)
        self.height = self.top + BOTTOM + rows * TALL + (rows - 1) * self.above
        self.figure = new_figure(self.width, self.height, title, subtitle)
        self.axis = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(xlim=(0, self.width), ylim=(0, self.height))
        self.axis.set_axis_off()
        self.axis.patch.set_visible(False)
        rules: list[Line] = []
        for place, (name, colour) in enumerate(titles):
            last = place >= len(titles) - self.columns
            label = xlabel if last else ""
            rules += self._frame(place, name, colour, ticks=own or last, label=label)
        self.axis.plot(*joined(rules), "-", color=GRID, lw=0.7, zorder=0.5)

    def _corner(self, place: int) -> tuple[float, float]:
        """Return the left and the lower end of a panel, inches."""
        row, column = divmod(place, self.columns)
        left = LEFT + column * (self.wide + self.beside)
        return left, self.height - self.top - TALL - row * (TALL + self.above)

    def _frame(self, place: int, name: str, colour: str, *, ticks: bool, label: str) -> list[Line]:
        """Draw the frame of a panel and its labels; return the lines of its grid."""
        left, low = self._corner(place)
        right, high = left + self.wide, low + TALL
        across = self.across[place]
        xs, ys = left + self.wide * across(across.ticks), low + TALL * self.up(self.up.ticks)
        text = self.axis.text
        text(left, high + 0.07, name, color=colour, weight="bold", size=9.5, va="bottom")
        self.axis.plot([left, left, right], [high, low, low], "-", color=FAINT, lw=0.8)
        if place % self.columns == 0:
            for y, tick in zip(ys, self.up.labels, strict=True):
                text(left - 0.05, y, tick, ha="right", va="center", color=MUTED)
        if ticks:
            for x, tick in zip(xs, across.labels, strict=True):
                text(x, low - 0.05, tick, ha="center", va="top", color=MUTED)
        if label:
            text(left + self.wide / 2, low - 0.22, label, ha="center", va="top", color=INK)
        upright = [(np.array([x, x]), np.array([low, high])) for x in xs]
        return upright + [(np.array([left, right]), np.array([y, y])) for y in ys]

    def _points(self, place: int, x: ArrayLike, y: ArrayLike) -> Line:
        """Return data of a panel in inches."""
        left, low = self._corner(place)
        return left + self.wide * self.across[place](x), low + TALL * self.up(y)

    def plot(
        self,
        place: int,
        x: ArrayLike,
        y: ArrayLike,
        *form: str,
        said: Sequence[str] = (),
        **kind: Any,
    ) -> None:
        """Draw a line or markers in one panel, as `Axes.plot` does, cut off at the frame.

        `said` has what the marker of each point says.
        """
        across, up = self._points(place, x, y)
        (line,) = self.axis.plot(across, up, *form, **kind)
        line.set_clip_box(self._clip(place))
        if line.get_marker() != "None":  # whole markers of the points inside the frame
            line.set_marker("None")
            shares = np.stack([self.across[place](x), self.up(y)])  # of the panel
            inside = np.asarray((abs(shares - 0.5) <= 0.5 + 1e-9).all(axis=0))
            (dots,) = self.axis.plot(across, np.where(inside, up, np.nan), *form, **kind)
            dots.set_linestyle("None")
            every = kind.get("markevery", 1)
            marked = zip(said[::every], inside[::every], strict=True) if said else ()
            dots.set_gid(says(*[text for text, shown in marked if shown]))

    def plot_behind(self, lines: Iterable[Line]) -> None:
        """Draw lines of all optimizers in grey in every panel."""
        x, y = joined(lines)
        for place in range(len(self.across)):
            self.plot(place, x, y, "-", color=BEHIND, lw=0.8)

    def band(self, place: int, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str) -> None:
        """Fill the area between two curves."""
        across, lower = self._points(place, x, low)
        area = self.axis.fill_between(
            across, lower, self._points(place, x, high)[1], color=colour, alpha=BAND, lw=0
        )
        area.set_clip_box(self._clip(place))

    def _clip(self, place: int) -> TransformedBbox:
        left, low = self._corner(place)
        box = Bbox([[left, low], [left + self.wide, low + TALL]])
        return TransformedBbox(box, self.axis.transData)


def titles(marks: Mapping[str, Mark], optimizers: Iterable[str]) -> list[tuple[str, str]]:
    """Return the titles of panels for optimizers."""
    return [(marks[name].label, marks[name].colour) for name in optimizers]


def joined(lines: Iterable[Line]) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Return many lines as one with gaps, since one artist is cheaper than dozens."""
    pieces = [(np.append(x, np.nan), np.append(y, np.nan)) for x, y in lines]
    return np.concatenate([x for x, _ in pieces]), np.concatenate([y for _, y in pieces])
