"""A figure as SVG inside a page: small, and light or dark with the page.

Matplotlib writes a file of its own. Inside a page its ids would clash, and its colours would stay:
here each colour is a CSS variable named after it (`m` of marks, `t` of text), whose two values
`palette` returns. Greys change places in the dark, other colours become lighter; text always has a
contrast of at least 4.5, and so have coloured marks in the dark. Black and white text stands on
coloured cells, which stay as they are. Title and subtitle are left to the page, whose text wraps.
What a mark says when a mouse rests on it is drawn as its `gid`, and becomes a `<title>`.
"""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from study.common.plot_look import COLOURS, COLOURS_IN_DARK, HEADING, mixed, readable

DARK = "#16181b"  # the ground; `--back` of templates/style.css
BRIGHT = "#e8e8e8"  # black marks in the dark
IN_DARK = dict(zip(COLOURS, COLOURS_IN_DARK, strict=True))
GREY = 0.08  # largest difference between the channels of a grey
DOTS = r'<g([^<>]*)>(<use[^<>]*) style="([^"]*)"/>((?:<use[^<>]* style="\3"/>)*)</g>'
MOST_DOTS = 10_000  # of a figure; more are an image inside the SVG, and say nothing
SAYS = "says "


def says(*texts: str) -> str | None:
    """Return the `gid` of an artist whose marks say these texts; one text is that of all of it.

    An empty text is that of a mark that is not drawn, because its value is NaN.
    """
    return SAYS + "\t".join(filter(None, texts)) if any(texts) else None


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an element of a page; `name` is its own on that page."""
    dots = [line for axis in figure.axes for line in axis.lines if line.get_marker() != "None"]
    many = bool(sum(np.size(line.get_xdata()) for line in dots) > MOST_DOTS)
    for line in dots:
        line.set_rasterized(many)
        if many:
            line.set_gid(None)
    for head in figure.texts:  # title and subtitle
        head.set_visible(False)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    for head in figure.texts:
        head.set_visible(True)
    text = buffer.getvalue()
    text = text[text.index('<g id="figure_1">') : text.rindex("</svg>")]
    text, said = _numbered(text)
    used = set(re.findall(r"#(\w+)[\")]", text))
    text = re.sub(r"<[^<>]*>", lambda tag: _small(tag[0], used), text)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(DOTS, _styled_once, text)
    text = _with_titles(text, said)
    width, height = figure.get_size_inches()
    box = f"0 {72 * HEADING:.2f} {72 * width:.2f} {72 * (height - HEADING):.2f}"
    kind = ' class="dots"' if many else ""
    return f'<svg{kind} viewBox="{box}" style="--wide: {width:.2f}in">{text}</svg>'


def _small(tag: str, used: set[str]) -> str:
    """Return a tag with fewer digits, without unused ids, with variables in place of colours."""
    tag = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)
    tag = tag.replace("xlink:href", "href").replace(" \n", "").replace("\n", " ")
    if tag.startswith("<image"):
        return tag
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    if tag.startswith("<text"):
        tag = tag.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana,sans-serif")
        tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
        return re.sub(r"#(?!ffffff)([0-9a-f]{6})", r"var(--t\1)", tag)
    return re.sub(r": #([0-9a-f]{6})", r": var(--m\1)", tag)


def _styled_once(dots: re.Match[str]) -> str:
    """Return a group of dots with their style at the group."""
    group, first, style, others = dots.groups()
    style = f' style="{style}"'
    return f"<g{group}{style}>{first}/>{others.replace(style, '')}</g>"


def _numbered(text: str) -> tuple[str, list[list[str]]]:
    """Return the text with a numbered title in each artist that says something, and what it is."""
    said = re.findall(f'<g id="{SAYS}([^"]*)">', text)
    numbers = iter(range(len(said)))
    text = re.sub(f'<g id="{SAYS}[^"]*">', lambda _: f"<g><title>{next(numbers)}</title>", text)
    return text, [one.split("\t") for one in said]


def _with_titles(text: str, said: Sequence[Sequence[str]]) -> str:
    """Return the text with what artists say: one title of all, or one in each of their marks."""
    first, *rest = re.split(r"<title>\d+</title>", text)
    return first + "".join(map(_titled, said, rest))


def _titled(texts: Sequence[str], drawn: str) -> str:
    """Return an artist with its titles; without them if not all of its marks are drawn."""
    if len(texts) == 1:
        return f"<title>{texts[0]}</title>{drawn}"
    marks = re.search(r"(<use[^<>]*/>)+", drawn)
    uses = marks[0].split("/>")[:-1] if marks else []
    if marks is None or len(uses) != len(texts):
        return drawn
    titled = (f"{use}><title>{text}</title></use>" for use, text in zip(uses, texts, strict=True))
    return drawn[: marks.start()] + "".join(titled) + drawn[marks.end() :]


def palette(page: str) -> str:
    """Return the CSS of every variable that a page's figures use."""
    names = sorted(set(re.findall(r"var\(--([mt][0-9a-f]{6})\)", page)))
    if not names:
        return ""
    light = "".join(f"--{name}:{_in_light(name)};" for name in names)
    dark = "".join(f"--{name}:{_in_dark(name)};" for name in names)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _in_light(name: str) -> str:
    colour = f"#{name[1:]}"
    return readable(colour, "white") if name[0] == "t" else colour


def _in_dark(name: str) -> str:
    colour = f"#{name[1:]}"
    red, green, blue = to_rgb(colour)
    if max(red, green, blue) - min(red, green, blue) > GREY:
        return readable(IN_DARK.get(colour, colour), DARK)
    mirrored = mixed(BRIGHT, DARK, (red + green + blue) / 3)
    return readable(mirrored, DARK) if name[0] == "t" else mirrored
