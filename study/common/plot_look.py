"""The style of every figure: fonts, colours and markers, sizes, axes.

rcParams are changed only inside `style()`, which also switches mathtext off: a name is no formula.
Names come from folders and TOML files, so they may be in any script: fonts are chosen by their
character maps, and a name that no font can draw is replaced by a number.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.typing import ColorType
from PIL import Image

from study.common.text import plain, printable

DPI = 110
INK, MUTED, FAINT, GRID = "#222222", "#6b6b6b", "#c4c4c4", "#e8e8e8"
BEHIND, BAND = "#b4b4b4", 0.28  # the curves of the others; the opacity of a band
HEADING = 0.6  # inches of a figure's title and subtitle
LEAST_CONTRAST = 4.5  # of text (WCAG 2.2)
SEQUENTIAL = "cividis"  # reads the same for every kind of colour vision, and in grey

# Hues of Okabe and Ito, and six between them; each is as readable as text, so a line and its name
# have one colour: the first on white, the second on a dark page. Markers carry the rest.
COLOURS = (
    *("#0072b2", "#c24e00", "#00805a", "#c2187e", "#7a5c00", "#7a3ff2"),
    *("#1f2a80", "#7d1038", "#14532d", "#86694e", "#008291", "#d3121f"),
)
COLOURS_IN_DARK = (
    *("#56b4e9", "#f08a3c", "#14b88a", "#f07ab8", "#d9bb1e", "#b39dff"),
    *("#4f80ff", "#d0607e", "#8be06a", "#d9c7a8", "#6ff0e6", "#ff4d4d"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")

# Tried first: they cover most scripts and look alike beside Latin text.
LIKELY = (
    *("noto sans cjk", "source han sans", "noto sans", "wenquanyi", "droid sans"),
    *("microsoft yahei", "simhei", "pingfang", "hiragino", "heiti", "malgun", "arial unicode"),
)
BASE_FONT = "DejaVu Sans"


class Fonts(NamedTuple):
    """Families to draw with, and the characters that none of them has."""

    families: tuple[str, ...]
    missing: str


def find_fonts(texts: Iterable[str]) -> Fonts:
    """Return font families that together have every character of `texts`."""
    wanted = {ord(c) for text in texts for c in printable(text)} - {0x20}
    wanted -= _characters(font_manager.findfont(BASE_FONT))
    families = [BASE_FONT]
    for family, path in _regular_fonts().items() if wanted else ():  # mostly no other is needed
        if found := wanted & _characters(path):
            families.append(family)
            wanted -= found
        if not wanted:
            break
    return Fonts(tuple(families), "".join(map(chr, sorted(wanted))))


def _regular_fonts() -> dict[str, str]:
    """Return family -> file of every regular font, likely ones first, even newer than the cache."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # a broken font file
            manager.addfont(path)

    def likeliest(entry: font_manager.FontEntry) -> tuple[int, str]:
        name = entry.name.lower()
        return next((k for k, hint in enumerate(LIKELY) if hint in name), len(LIKELY)), name

    found: dict[str, str] = {}
    for entry in sorted(manager.ttflist, key=likeliest):
        regular = entry.style == "normal" and entry.weight in (400, "normal", "regular")
        if regular and "last resort" not in entry.name.lower():  # that one draws boxes, by design
            found.setdefault(entry.name, entry.fname)
    return found


def _characters(path: str) -> set[int]:
    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()


def shown_names(names: Sequence[str], fonts: Fonts, kind: str = "class") -> Mapping[int, str]:
    """Return names by index; one that no font can draw becomes "class 7", not a row of boxes."""
    gaps = set(fonts.missing)
    return {
        i: f"{kind} {i + 1}" if gaps & set(name) else plain(name) for i, name in enumerate(names)
    }


class Mark(NamedTuple):
    """How one optimizer is drawn."""

    colour: str
    marker: str
    label: str  # the name as it can be drawn


def marks(optimizers: Iterable[str], fonts: Fonts) -> dict[str, Mark]:
    """Return a fixed mark for each optimizer, by its place in the search space."""
    names = list(dict.fromkeys(optimizers))
    labels = shown_names(names, fonts, "optimizer")
    return {
        name: Mark(
            COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(MARKERS)) % len(MARKERS)], labels[i]
        )
        for i, name in enumerate(names)
    }


@contextlib.contextmanager
def style(fonts: Fonts) -> Iterator[None]:
    """Draw with our fonts, sizes and plain axes, without mathtext and the user's own style."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # else it warns of a fallback font without a bold face
    with (
        mpl.style.context("default"),
        mpl.rc_context(  # no matplotlibrc of the user's
            {
                "font.family": list(fonts.families),
                "font.size": 9,
                "text.parse_math": False,
                "axes.unicode_minus": False,
                "axes.edgecolor": FAINT,
                "axes.labelcolor": INK,
                "axes.titlesize": 9.5,
                "axes.titlelocation": "left",
                "axes.titley": 1.0,  # else every tick label is measured to find a free place
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": GRID,
                "grid.linewidth": 0.7,
                "text.color": INK,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.major.size": 0,
                "ytick.major.size": 0,
                "lines.linewidth": 1.6,
            }
        ),
    ):
        try:
            yield
        finally:
            log.setLevel(level)


class ShownFigure(Figure):
    """A figure that a notebook shows even where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return to_png(self, photos=True)


def new_figure(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """Return a figure with its message on top, in inches; the caller sets the margins."""
    figure = ShownFigure(figsize=(width, height))
    left = 0.15 / width
    figure.text(left, 1 - 0.12 / height, title, size=12, weight="bold", va="top")
    figure.text(left, 1 - 0.40 / height, subtitle, size=9, color=MUTED, va="top")
    return figure


def to_png(figure: Figure, *, photos: bool = False) -> bytes:
    """Draw it as a PNG; without `photos` in 256 colours, a third of the size in half the time."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    for head in figure.texts:  # title and subtitle: smaller where the figure is narrow
        size = float(head.get_fontsize())
        while head.get_window_extent(renderer).x1 > figure.bbox.x1 and size > 4:
            size -= 0.25
            head.set_fontsize(size)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    if not photos:
        image = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        colours = image.getpalette() or []
        ground = 3 * int(np.asarray(image)[0, 0])
        colours[ground : ground + 3] = [255, 255, 255]  # the octree makes white a little grey
        image.putpalette(colours)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def margins(
    figure: Figure, *, left: float, right: float, top: float, bottom: float, wspace: float = 0.2
) -> None:
    """Set the margins, in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=wspace,
    )


def percent_axis(axis: Axes, which: str = "y") -> None:
    """Label an accuracy axis in percent."""
    ticks = axis.yaxis if which == "y" else axis.xaxis
    ticks.set_major_formatter(lambda value, _: f"{100 * value:.5g} %")


def points_axis(axis: Axes) -> None:
    """Label a horizontal axis of differences in points."""
    axis.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")


def names_down(axis: Axes, names: Sequence[str]) -> None:
    """Give each name a line of the vertical axis, the first on top."""
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), names, color=INK)
    axis.grid(axis="y", visible=False)


def spread_labels(
    places: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf
) -> list[float]:
    """Return label positions moved apart until neighbours are `gap` away, inside low..high.

    Their order stays. Where they do not all fit, `high` is kept and the lowest ones leave.
    """
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, float)[order]
    for _ in range(60):  # neighbours push each other half way: clusters stay centred
        push = np.maximum(gap - np.diff(moved), 0) / 2
        if push.max(initial=0) < gap / 100:
            break
        moved[:-1] -= push
        moved[1:] += push
    steps = gap * np.arange(len(moved))
    moved = np.maximum.accumulate(np.maximum(moved, low) - steps) + steps
    moved = np.minimum.accumulate((np.minimum(moved, high) - steps)[::-1])[::-1] + steps
    result = np.empty(len(moved))
    result[order] = moved
    return [float(place) for place in result]


def lower_limit(values: Iterable[float]) -> float:
    """Return where an accuracy axis starts: below nearly all values, to leave the top room."""
    finite = [value for value in values if np.isfinite(value)]
    return max(np.floor(float(np.quantile(finite, 0.06)) * 10 - 0.2) / 10, 0.0) if finite else 0.0


def contrast(first: ColorType, second: ColorType) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""
    lights = sorted((_luminance(first), _luminance(second)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: ColorType) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(colour: ColorType) -> str:
    """Return black or white, whichever is easier to read on a colour."""
    return max("black", "white", key=lambda ink: contrast(ink, colour))


def readable(colour: ColorType, ground: str, least: float = LEAST_CONTRAST) -> str:
    """Return the colour, with as much black or white as its contrast to the ground takes."""
    end = "black" if contrast("white", ground) < least else "white"
    shades = (mixed(colour, end, step / 20) for step in range(21))
    return next(shade for shade in shades if contrast(shade, ground) >= least)


def mixed(first: ColorType, second: ColorType, share: float) -> str:
    """Return a mixture with this share of the second colour."""
    pairs = zip(to_rgb(first), to_rgb(second), strict=True)
    red, green, blue = ((1 - share) * a + share * b for a, b in pairs)
    return to_hex((red, green, blue))


def log_label(value: float, _: object = None) -> str:
    """Return a tick of a logarithmic axis without mathtext: 0.01, 1e-3."""
    exponent = round(np.log10(value)) if value > 0 else 0
    return f"1e{exponent}" if exponent < -2 else f"{value:g}"
