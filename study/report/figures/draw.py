"""Draw the figures of a summary, and write them as PNG files.

A drawer of the other modules draws one tuple of the summary and nothing else; the title of a figure
says what to look for.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from study.common.files import write_atomically
from study.common.plot_look import Fonts, find_fonts, marks
from study.report.analysis.summary import Summary
from study.report.figures import cost, hyperparameters, mistakes, optimizers, searches
from study.report.figures.picture import Drawn, Picture, finished

Drawer = Callable[..., Drawn]

PHOTOS = ("mistakes",)  # figures that show photographs
RANKING: tuple[Drawer, ...] = (optimizers.draw_ranking,)
DRAWERS: tuple[Drawer, ...] = (
    *optimizers.DRAWERS,
    *cost.DRAWERS,
    *mistakes.DRAWERS,
    *searches.DRAWERS,
    *hyperparameters.DRAWERS,
)


def draw_figures(
    summary: Summary, drawers: Iterable[Drawer] = DRAWERS
) -> tuple[list[Picture], list[str]]:
    """Return every figure that the study has data for, and warnings about fonts."""
    fonts = find_fonts([*summary.meta.class_names, *summary.meta.optimizers])
    marked = marks([*summary.meta.optimizers, *(row.optimizer for row in summary.rows)], fonts)
    drawn = (one for drawer in drawers for one in drawer(summary, marked, fonts))
    return finished(drawn, fonts, photos=PHOTOS), _font_warnings(fonts)


def write_figures(pictures: Iterable[Picture], folder: Path) -> None:
    """Write the PNG files, and remove those of an earlier report that no longer apply."""
    names = set()
    for picture in pictures:
        names.add(f"{picture.name}.png")
        write_atomically(folder / f"{picture.name}.png", picture.png)
    for old in folder.glob("*.png"):
        if old.name not in names:
            old.unlink()


def _font_warnings(fonts: Fonts) -> list[str]:
    if not fonts.missing:
        return []
    return [
        f"no installed font has the characters {fonts.missing[:20]!r}, so figures show numbers "
        'instead of those names; install the font "Noto Sans CJK" (Debian, Ubuntu: fonts-noto-cjk) '
        "or another one for this script, and run the report again"
    ]
