"""A figure as SVG inside a page: small, and light or dark with the page.

Matplotlib writes a file of its own. Inside a page its ids would clash, and its colours would stay:
here each colour is a CSS variable named after it (`m` of marks, `t` of text), whose two values
`palette` returns. Greys change places in the dark, other colours become lighter; text always has a
contrast of at least 4.5. Black and white text stands on coloured cells, which stay as they are.
"""

import io
import re

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from study.common.plot_look import contrast

LIGHT, DARK = "#ffffff", "#16181b"  # the grounds; `--back` of templates/style.css
BRIGHT = "#e8e8e8"  # black marks in the dark
LEAST = {"t": 4.5, "m": 3.0}  # contrasts of text and, in the dark, of marks (WCAG 2.2)
GREY = 0.08  # largest difference between the channels of a grey
DOTS = r'<g([^<>]*)>(<use[^<>]*) style="([^"]*)"/>((?:<use[^<>]* style="\3"/>)*)</g>'
MOST_DOTS = 10_000  # of a figure; more are an image inside the SVG


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an element of a page; `name` is its own on that page."""
    dots = [line for axis in figure.axes for line in axis.lines if line.get_marker() != "None"]
    many = bool(sum(np.size(line.get_xdata()) for line in dots) > MOST_DOTS)
    for line in dots:
        line.set_rasterized(many)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index('<g id="figure_1">') : text.rindex("</svg>")]
    used = set(re.findall(r"#(\w+)[\")]", text))
    text = re.sub(r"<[^<>]*>", lambda tag: _small(tag[0], used), text)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(DOTS, _styled_once, text)
    width, height = (72 * inches for inches in figure.get_size_inches())
    kind = ' class="dots"' if many else ""
    wide = f"--wide: {width / 72:.2f}in"
    return f'<svg{kind} viewBox="0 0 {width:.2f} {height:.2f}" style="{wide}">{text}</svg>'


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
    return _readable(colour, LIGHT, LEAST["t"]) if name[0] == "t" else colour


def _in_dark(name: str) -> str:
    colour = f"#{name[1:]}"
    red, green, blue = to_rgb(colour)
    if max(red, green, blue) - min(red, green, blue) > GREY:
        return _readable(colour, DARK, LEAST[name[0]])
    mirrored = _mixed(BRIGHT, DARK, (red + green + blue) / 3)
    return _readable(mirrored, DARK, LEAST["t"]) if name[0] == "t" else mirrored


def _readable(colour: str, ground: str, least: float) -> str:
    """Return the colour, with as much black or white as its contrast to the ground takes."""
    end = "#000000" if ground == LIGHT else "#ffffff"
    shades = (_mixed(colour, end, step / 20) for step in range(21))
    return next(shade for shade in shades if contrast(shade, ground) >= least)


def _mixed(first: str, second: str, share: float) -> str:
    """Return a mixture with this share of the second colour."""
    pairs = zip(to_rgb(first), to_rgb(second), strict=True)
    red, green, blue = ((1 - share) * a + share * b for a, b in pairs)
    return to_hex((red, green, blue))
