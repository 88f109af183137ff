"""Summary -> figures/*.png. The figures themselves are drawn by the other modules of this folder.

Each figure draws one tuple of the summary and nothing else; each title says what to look for.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from study.common.files import write_atomically
from study.common.plot_look import Fonts, find_fonts, marks, style, to_png
from study.report.analysis.summary import Summary
from study.report.figures import cost, hyperparameters, mistakes, optimizers, searches
from study.report.figures.picture import Drawn, Picture

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
    """Every figure that the study has data for, and warnings about fonts."""
    fonts = find_fonts([*summary.meta.class_names, *summary.meta.optimizers])
    look = marks([*summary.meta.optimizers, *(row.optimizer for row in summary.rows)], fonts)
    pictures = []
    with style(fonts):
        for drawer in drawers:
            for name, title, caption, figure in drawer(summary, look, fonts):
                png = to_png(figure, photos=name in PHOTOS)
                pictures.append(Picture(name, title, caption, png, figure))
    return pictures, _font_warnings(fonts)


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
        f"no installed font has the characters {fonts.missing[:20]!r}, so figures show numbers in "
        'place of those names; install the font "Noto Sans CJK" (Debian, Ubuntu: fonts-noto-cjk) '
        "or another one for this script, and run the report again"
    ]
