"""Fonts that have the letters of the names.

Names come from folders and TOML files, so they may hold any script: fonts are chosen by looking
into their character maps, and a name that no font can draw is replaced by a number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from study.common.text import plain

# Tried first, because they cover most and look alike beside the Latin text.
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
    """Font families that together have every character of `texts`."""
    wanted = {ord(c) for text in texts for c in plain(text, len(text) + 1)} - {0x20}
    wanted -= _characters(font_manager.findfont(BASE_FONT))
    families = [BASE_FONT]
    if not wanted:  # the usual case, and no other font file is opened
        return Fonts(tuple(families), "")
    for family, path in _candidates():
        found = wanted & _characters(path)
        if found:
            families.append(family)
            wanted -= found
        if not wanted:
            break
    return Fonts(tuple(families), "".join(map(chr, sorted(wanted))))


def _candidates() -> Iterator[tuple[str, str]]:
    """(family, file) of every regular font, likely ones first; also fonts newer than the cache."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        try:
            manager.addfont(path)
        except (OSError, RuntimeError, ValueError):  # a broken font file is no reason to stop
            continue
    plain_ones = [
        e for e in manager.ttflist if e.style == "normal" and e.weight in (400, "normal", "regular")
    ]
    names = [entry.name.lower() for entry in plain_ones]
    order = sorted(
        range(len(names)),
        key=lambda i: (
            min((k for k, hint in enumerate(LIKELY) if hint in names[i]), default=99),
            names[i],
        ),
    )
    seen: set[str] = set()
    for i in order:
        if plain_ones[i].name not in seen and "last resort" not in names[i]:  # boxes, by design
            seen.add(plain_ones[i].name)
            yield plain_ones[i].name, plain_ones[i].fname


def _characters(path: str) -> set[int]:
    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()


def shown_names(names: Sequence[str], fonts: Fonts, kind: str = "class") -> Mapping[int, str]:
    """Names by index; one that no font can draw becomes "class 7", never a row of boxes."""
    gaps = set(fonts.missing)
    return {
        i: f"{kind} {i + 1}" if gaps & set(name) else plain(name) for i, name in enumerate(names)
    }
