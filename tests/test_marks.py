"""Every figure shows what the files of the study say: its order, its scales, its marks.

A figure is read as a reader reads it: the value of a mark is found between the labels of the ticks,
so a wrong label, scale or place is a wrong value. What it should be is recomputed from the files
(`test_numbers.Study`), or, in comparisons of studies, taken from what is compared.
"""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy import stats
from test_numbers import (
    STUDIES,
    Bounds,
    Study,
    made_up,
    mean,
    means,
    ordered,
    percent,
    upwards,
    verdicts,
)
from test_several_studies import sets, study

from study.common.plot_look import BEHIND, find_fonts, marks, style
from study.compare.figures import draw_across, draw_effects, draw_pair
from study.compare.several import Several, several_studies
from study.report.analysis.confusion import Mistake
from study.report.analysis.summary import load_study
from study.report.figures.draw import DRAWERS
from study.report.figures.mistakes import draw_mistakes
from study.report.figures.picture import TALL, WIDE

Marks = list[tuple[float, float]]
COLOURS = {"good enough": "#007a52", "excluded": "#c0182b"}
COLOURS |= {"undecided": "#a06a00", "not pursued": "#868c96"}


# ---- reading a figure ----


def number(label: str) -> float:
    return float(label.removesuffix(" %")) / (100 if label.endswith("%") else 1)


def scale(ticks: list[tuple[float, str]], *, log: bool) -> Callable[[Any], Any]:
    """The value at a place of an axis, from where its labels stand."""
    places = np.array([place for place, _ in ticks])
    values = np.array([number(label) for _, label in ticks])
    values = np.log10(values) if log else values
    slope, start = np.polyfit(places, values, 1)
    assert np.allclose(start + slope * places, values, atol=1e-6 * np.ptp(values))
    return lambda place: 10 ** (start + slope * place) if log else start + slope * place


class Panel:
    """One of the small multiples in an axis that is measured in inches."""

    def __init__(self, axis: Axes, head: Text, *, log_x: bool, log_y: bool) -> None:
        self.title = head.get_text()
        (self.left, above), heads = head.get_position(), []
        self.low = above - 0.07 - TALL
        self.axis = axis
        texts = [(text, *text.get_position()) for text in axis.texts]
        first = min(x for _, x, _ in texts if x > 0.5)  # where the leftmost panels begin
        across = [
            (x, text.get_text(), y)
            for text, x, y in texts
            if text.get_va() == "top"
            and text.get_ha() == "center"
            and self.left - 0.01 <= x <= self.left + WIDE + 0.01
        ]
        ticked = max(y for *_, y in across if y < self.low)
        heads = [(x, label) for x, label, y in across if y == ticked]
        upwards = [
            (y, text.get_text())
            for text, x, y in texts
            if text.get_ha() == "right" and self.low - 0.01 <= y <= self.low + TALL + 0.01
        ]
        assert first and len(heads) > 1 and len(upwards) > 1
        self.x, self.y = scale(heads, log=log_x), scale(upwards, log=log_y)

    def lines(self) -> Iterator[Line2D]:
        """What is drawn in this panel; the grey lines of the other optimizers are not."""
        for line in self.axis.lines:
            xy = line.get_xydata()
            if line.get_marker() != "None":  # only of what is inside its panel
                (x, y), *_ = [*xy[np.isfinite(xy).all(axis=1)], (-1, -1)]
                near = (x - self.left) / WIDE, (y - self.low) / TALL
                if all(-1e-9 <= share <= 1 + 1e-9 for share in near):
                    yield line
            elif self.holds(line) and not same_color(line.get_color(), BEHIND):
                yield line

    def holds(self, artist: Artist) -> bool:
        box = artist.get_clip_box()
        corner = getattr(box, "_bbox", box).get_points()[0]
        return bool(np.allclose(corner, (self.left, self.low)))

    def read(self, line: Line2D) -> Marks:
        x, y = line.get_xydata().T
        return [(a, b) for a, b in zip(self.x(x), self.y(y), strict=True) if math.isfinite(b)]

    def marks(self) -> Marks:
        dots = [line for line in self.lines() if line.get_marker() != "None"]
        return [mark for line in dots for mark in self.read(line)]

    def curves(self, style: str = "-") -> list[Marks]:
        lines = [line for line in self.lines() if line.get_linestyle() == style]
        return [self.read(line) for line in lines if line.get_marker() == "None"]

    def band(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, the lower and the upper edge."""
        for area in self.axis.collections:
            if self.holds(area):
                (path,) = area.get_paths()
                x, y = path.vertices.T
                edges = defaultdict(list)
                for a, b in zip(self.x(x).round(6), self.y(y), strict=True):
                    edges[a].append(b)
                at = np.array(sorted(edges))
                return (
                    at,
                    np.array([min(edges[a]) for a in at]),
                    np.array([max(edges[a]) for a in at]),
                )
        raise AssertionError("no band")


def panels(figure: Figure, *, log_x: bool | set[str] = False, log_y: bool = False) -> list[Panel]:
    """The panels in their order; `log_x` may be the titles of those with a logarithmic axis."""
    (axis,) = figure.axes
    heads = [text for text in axis.texts if text.get_weight() == "bold"]
    logs = [log_x if isinstance(log_x, bool) else head.get_text() in log_x for head in heads]
    return [Panel(axis, head, log_x=x, log_y=log_y) for head, x in zip(heads, logs, strict=True)]


def names_of(axis: Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def marked(axis: Axes) -> list[Line2D]:
    return [line for line in axis.lines if line.get_marker() not in ("None", ">")]


def same(found: Marks, expected: Marks, *, rel: float = 1e-5) -> None:
    assert len(found) == len(expected)
    pairs = [sorted((round(x, 9), round(y, 9)) for x, y in marks) for marks in (found, expected)]
    np.testing.assert_allclose(*pairs, rtol=rel, atol=1e-6)


# ---- the figures of one study ----


@pytest.fixture(scope="module", params=["made up", "faces", "rows"])
def shown(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Figure], Study]:
    """Four optimizers have panels and verdicts, fewer share panels; rows have another metric."""
    folder = STUDIES / request.param
    if request.param == "made up":
        folder = made_up(tmp_path_factory.mktemp("logs"))
    summary, fonts = load_study(folder), find_fonts([])
    looks = marks(summary.meta.optimizers, fonts)
    with style(fonts):  # nothing is rendered, which would take most of the time
        drawn = [one for drawer in DRAWERS for one in drawer(summary, looks, fonts)]
    return {name: figure for name, _, _, figure in drawn}, Study(folder)


def ranking(figure: Figure, files: Study) -> None:
    (axis,), names = figure.axes, ordered(files)
    assert names_of(axis) == names and axis.get_xscale() == "linear"
    found = means(files)
    if verdicts(files)[names[0]][0] == "no verdict":
        said = [
            (value, place)
            for place, name in enumerate(names)
            for value in (*map(files.value, files.confirmed(name)), found[name])
        ]
        same([tuple(xy) for line in marked(axis) for xy in line.get_xydata()], said)
        return
    bounds, leader = verdicts(files), next(iter(found))
    bars = {line.get_ydata()[0]: line for line in axis.lines if line.get_linewidth() == 5}
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2]
    thin = [line.get_xydata()[1] for line in lines if line.get_linewidth() == 1.6]
    shown_to = axis.get_xlim()[1]  # a longer bar ends in an arrow
    for place, name in enumerate(names):
        verdict, behind, new = bounds[name]
        ends = [] if math.isnan(new) else [pytest.approx(min(new, shown_to))]
        assert [x for x, y in thin if y == place + 0.27] == ends
        start, end = bars[place].get_xdata()
        assert end == pytest.approx(behind) and (start > 0) == (verdict == "excluded")
        assert to_hex(bars[place].get_color()) == COLOURS[verdict]
    gaps = [(found[leader] - found[name], place) for place, name in enumerate(names)]
    same([tuple(line.get_xydata()[0]) for line in marked(axis)], gaps)
    written = {text.get_text() for text in axis.texts}
    assert {f"{percent(found[name])} %" for name in names} <= written
    assert {upwards(bound) for name in names for bound in bounds[name][1:]} <= written
    formatted = axis.xaxis.get_major_formatter()
    assert formatted(0.02, None) == "2" and files.margin in [
        line.get_xdata()[0] for line in axis.lines
    ]


def pair_matrix(figure: Figure, files: Study) -> None:
    (axis,), names, bounds = figure.axes, ordered(files), Bounds(files)
    places = [files.names.index(name) for name in names]
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert names_of(axis) == names
    for (y, i), (x, j) in itertools.permutations(enumerate(places), 2):
        assert cells[x, y] == percent(-bounds.gap[i, j])


def mean_curve(files: Study, name: str, key: str) -> Marks:
    """Of the confirmation runs, as far as at least half of them go."""
    curves = [run[key] for run in files.confirmed(name)]
    epochs = sorted(map(len, curves))[len(curves) // 2]
    every = [[curve[epoch] for curve in curves if len(curve) > epoch] for epoch in range(epochs)]
    return [(epoch, float(np.mean(values))) for epoch, values in enumerate(every, start=1)]


def curves_of(kind: str) -> Callable[[Figure, Study], None]:
    def check(figure: Figure, files: Study) -> None:
        log = kind == "loss"
        found = panels(figure, log_y=log)
        assert [panel.title for panel in found] == ordered(files)
        for panel in found:
            for dashes, key in (("-", f"val_{kind}"), ("--", kind)):
                (curve,) = panel.curves(dashes)
                same(curve, mean_curve(files, panel.title, key))
            points = [*panel.curves("-")[0], *panel.curves("--")[0]]
            assert panel.marks() and all(
                np.isclose(points, mark).all(1).any() for mark in panel.marks()
            )

    return check


def curves_together(figure: Figure, files: Study) -> None:
    value, loss = figure.axes
    assert loss.get_yscale() == "log" and value.get_yscale() == loss.get_xscale() == "linear"
    trained = "accuracy" if files.metric == "accuracy" else "train_metric"
    for axis, val, train in ((value, files.own, trained), (loss, "val_loss", "loss")):
        for dashes, key in (("-", val), ("--", train)):
            lines = [line for line in axis.lines if line.get_linestyle() == dashes]
            for line, name in zip(lines, ordered(files), strict=True):
                same([tuple(xy) for xy in line.get_xydata()], mean_curve(files, name, key))
    names = [text.get_text() for text in value.texts]
    assert names == ordered(files)


def target(figure: Figure, files: Study) -> None:
    (axis,), best = figure.axes, next(iter(means(files).values())) - files.margin
    longest = max(run["epochs"] for name in files.names for run in files.confirmed(name))
    assert axis.get_xlim() == (1, longest) and axis.get_ylim() == (0, 1)
    assert [text.get_text() for text in axis.get_yticklabels()][-1] == "100 %"
    assert [text.get_text() for text in axis.texts] == ordered(files)
    for line, name in zip(axis.lines, ordered(files), strict=True):
        runs = [run[files.own] for run in files.confirmed(name)]
        every = len(files.of(name, "confirm"))  # one that diverged never reaches it
        shares = [
            sum(max(curve[:epoch]) >= best for curve in runs) / every
            for epoch in range(1, len(line.get_ydata()) + 1)
        ]
        assert line.get_ydata().tolist() == pytest.approx(shares)


def time(figure: Figure, files: Study) -> None:
    (axis,), found = figure.axes, means(files)
    assert axis.get_xscale() == axis.get_yscale() == "linear"
    assert axis.yaxis.get_major_formatter()(0.5, None) == "50 %"
    dots = [tuple(line.get_xydata()[0]) for line in marked(axis) if line.get_xdata()[0] != 1.04]
    seconds = {name: mean(run["seconds"] for run in files.confirmed(name)) for name in found}
    same(dots, [(seconds[name], found[name]) for name in found])
    for line in axis.lines:
        if line.get_marker() == "None":
            (name,) = (n for n in found if math.isclose(seconds[n], line.get_xdata()[0]))
            values = list(files.by_repeat(name).values())
            ends = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
            assert line.get_ydata() == pytest.approx(np.clip(ends, 0, 1))


def gains(figure: Figure, files: Study) -> None:
    (axis,), found = figure.axes, means(files)
    assert [text.get_text() for text in axis.get_xticklabels()] == ["default", "tuned"]
    written = [text.get_text() for text in axis.texts]
    for line, name in zip(marked(axis), ordered(files), strict=True):
        untuned = {run["repeat"]: files.value(run) for run in files.of(name, "default")}
        own = files.by_repeat(name)
        gained = mean(own[repeat] - untuned[repeat] for repeat in own)
        default = np.clip(found[name] - gained, min(untuned.values()), max(untuned.values()))
        for value, height in zip((default, found[name]), line.get_ydata(), strict=True):
            assert height == pytest.approx(-math.log10(max(1 - value, 2e-3)))  # missing to 100 %
            assert f"{name} {percent(value)} %" in written


def learning_rate(figure: Figure, files: Study) -> None:
    found = panels(figure, log_x=True)
    assert [panel.title for panel in found] == ordered(files)
    table = files.meta["space"]["table"]["optimizers"]
    ends = [table[name]["learning_rate"] for name in files.names]
    for panel in found:
        edges = [panel.x(panel.left), panel.x(panel.left + WIDE)]
        low, high = min(end["min"] for end in ends), max(end["max"] for end in ends)
        assert edges == pytest.approx([low / 1.2, high * 1.2])
        trials = [run for run in files.trials(panel.title) if run["status"] != "failed"]
        expected = [
            (
                run["hyperparameters"]["learning_rate"],
                -0.035 if run["status"] == "diverged" else files.value(run),
            )
            for run in trials
        ]
        same(panel.marks(), expected)
        (line,) = panel.curves()
        best: dict[float, float] = defaultdict(float)
        for run in trials:
            third = math.floor(math.log10(run["hyperparameters"]["learning_rate"]) * 3)
            best[third] = max(best[third], files.value(run))
        same(line, [(10 ** ((third + 0.5) / 3), value) for third, value in best.items()])


def budget(figure: Figure, files: Study) -> None:
    found = panels(figure)
    assert [panel.title for panel in found] == ordered(files)
    for panel in found:
        (line,) = panel.curves()
        search = files.of(panel.title, "search")
        repeats = sorted({run["repeat"] for run in search})
        for epochs, value in line:
            best = []
            for repeat in repeats:
                runs = [run for run in search if run["repeat"] == repeat]
                spent = np.cumsum([run["epochs"] - run["initial_epoch"] for run in runs])
                values = [
                    files.value(r) for r, s in zip(runs, spent, strict=True) if s <= epochs + 1e-6
                ]
                guess = 1 / len(files.meta["class_names"])
                best.append(max(guess if math.isnan(v) else v for v in values))
            assert value == pytest.approx(np.median(best))


def incumbents(figure: Figure, files: Study) -> None:
    found = panels(figure, log_x=True)
    assert [panel.title for panel in found] == ordered(files)
    for panel in found:
        name, table = panel.title, []
        for repeat in range(files.meta["looks"][0]["repeats"]):
            search = [run for run in files.of(name, "search") if run["repeat"] == repeat]
            again = [run for run in files.of(name, "budget") if run["repeat"] == repeat]
            again += [run for run in files.confirmed(name, repeat) if run["confirm"] == 0]
            spent = np.cumsum([run["epochs"] - run["initial_epoch"] for run in search])
            table.append([])
            for part in (0.125, 0.25, 0.5, 1.0):
                there = [
                    run
                    for run, until in zip(search, spent, strict=True)
                    if until <= part * spent[-1] and run["status"] == "completed"
                ]
                there.sort(key=lambda run: (files.value(run), -files.at_best(run, "val_loss")))
                best = there[-1]["hyperparameters"] if there else None
                found_then = [files.value(r) for r in again if r["hyperparameters"] == best]
                table[-1] += found_then or [math.nan]
        values = np.array(table)
        epochs = spent[-1] * np.array([0.125, 0.25, 0.5, 1.0])
        some = np.isfinite(values).any(axis=0)  # a diverged trial may be all that was found
        values, epochs = values[:, some], epochs[some]
        middle = np.nanmean(values, axis=0)
        same(panel.marks(), list(zip(epochs, middle, strict=True)))
        gaps = values - values[:, -1:]
        known = np.isfinite(gaps).sum(axis=0)
        gaps, middle, known = gaps[:, known > 1], middle[known > 1], known[known > 1]
        reach = stats.t.ppf(0.975, known - 1) * np.nanstd(gaps, axis=0, ddof=1) / np.sqrt(known)
        _, low, high = panel.band()
        assert low == pytest.approx(middle - reach) and high == pytest.approx(middle + reach)


def heat(key: str) -> Callable[[Figure, Study], None]:
    def check(figure: Figure, files: Study) -> None:
        (axis,), names = figure.axes, ordered(files)
        columns = [label.get_text() for label in axis.get_xticklabels()]
        assert names_of(axis) == names and axis.get_xlabel() == key
        cells = {text.get_position(): text.get_text() for text in axis.texts}
        for (y, name), (x, column) in itertools.product(enumerate(names), enumerate(columns)):
            trials = files.trials(name)
            longest = max(run["epochs"] for run in trials)
            values = [
                files.value(run)
                for run in trials
                if run["epochs"] == longest and str(run["hyperparameters"][key]) == column
            ]
            if values:
                assert cells[x, y] == percent(np.quantile(values, 0.75))
                assert cells[x + 0.46, y + 0.42] == str(len(values))
            else:
                assert (x, y) not in cells
        if key == "dense_width":
            assert columns == sorted(columns, key=int)

    return check


def shares_beaten(files: Study, name: str) -> list[tuple[dict[str, Any], float]]:
    """Each search run's share of the runs of its search, of equal length, that it beats."""
    groups = defaultdict(list)
    for run in files.of(name, "search"):
        if run["status"] != "failed":
            groups[run["repeat"], run["epochs"]].append(run)
    found = []
    for runs in groups.values():
        for run in runs if len(runs) > 1 else ():
            others = [files.value(other) for other in runs if other is not run]
            beaten = mean((np.sign(files.value(run) - other) + 1) / 2 for other in others)
            found.append((run["hyperparameters"], beaten))
    return found


def sixths(pairs: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Equal groups by value; one for each of a few values, and for words."""
    if len({value for value, _ in pairs}) <= 6 or isinstance(pairs[0][0], str):
        groups = itertools.groupby(
            sorted(pairs, key=lambda pair: str(pair[0])), lambda pair: pair[0]
        )
        return [list(group) for _, group in groups]
    order = sorted(pairs, key=lambda pair: pair[0])
    sizes = [len(part) for part in np.array_split(range(len(order)), 6)]
    ends = np.cumsum([0, *sizes])
    return [order[a:b] for a, b in itertools.pairwise(ends)]


def slices(figure: Figure, files: Study) -> None:
    table = files.meta["space"]["table"]
    given = [table["head"], *table.get("schedules", {}).values(), *table["optimizers"].values()]
    log = {
        key.replace("one_minus_", "1 - ")
        for entry in given
        for key, domain in entry.items()
        if isinstance(domain, dict) and domain.get("scale") == "log"
    }
    for panel in panels(figure, log_x=log):
        expected, key = [], panel.title.removeprefix("1 - ")
        for name in files.names:
            scored = [(v[key], b) for v, b in shares_beaten(files, name) if key in v]
            if key != panel.title:
                scored = [(1 - value, b) for value, b in scored]
            if len(scored) >= 20:
                expected += [
                    (float(np.median([v for v, _ in group])), mean(b for _, b in group))
                    for group in sixths(scored)
                ]
        same(panel.marks(), expected)


def importance(figure: Figure, files: Study) -> None:
    """Omega squared: what groups of one hyperparameter explain of the shares that are beaten."""
    (axis,), names = figure.axes, ordered(files)
    columns = [label.get_text() for label in axis.get_xticklabels()]
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert names_of(axis) == names
    for (y, name), (x, key) in itertools.product(enumerate(names), enumerate(columns)):
        pairs = [(values[key], b) for values, b in shares_beaten(files, name) if key in values]
        if len(pairs) < 20 or len({value for value, _ in pairs}) < 2:
            assert (x, y) not in cells
            continue
        if not all(type(value) in (int, float) for value, _ in pairs):
            pairs = [(str(value), b) for value, b in pairs]
        groups = [np.array([b for _, b in group]) for group in sixths(pairs)]
        every = np.concatenate(groups)
        between = sum(len(g) * (g.mean() - every.mean()) ** 2 for g in groups)
        error = sum(((g - g.mean()) ** 2).sum() for g in groups) / (len(every) - len(groups))
        total = ((every - every.mean()) ** 2).sum()
        share = max(0, (between - (len(groups) - 1) * error) / (total + error))
        assert cells[x, y] == f"{100 * round(share, 2):.0f}"


def confusion(figure: Figure, files: Study) -> None:
    matrix, most = figure.axes
    names = names_of(matrix)
    assert names == [label.get_text() for label in matrix.get_xticklabels()]
    assert names == sorted(names, key=lambda name: int(name.strip("s")))  # s2 before s10
    true, said = winner_said(files)
    counts = defaultdict(int)
    for t, s in zip(true, said, strict=True):
        counts[names.index(s), names.index(t)] += 1
    assert {text.get_position(): int(text.get_text()) for text in matrix.texts} == counts
    wrong = sorted((n for (x, y), n in counts.items() if x != y), reverse=True)
    assert [bar.get_width() for bar in most.patches] == wrong[: len(most.patches)]
    for label, bar in zip(names_of(most), most.patches, strict=True):
        t, s = label.split(" → ")
        assert counts[names.index(s), names.index(t)] == bar.get_width()


def per_class(figure: Figure, files: Study) -> None:
    (axis,) = figure.axes
    true, said = winner_said(files)
    (dots,) = marked(axis)
    shares = dots.get_xdata().tolist()
    assert shares == sorted(shares)  # the hardest first
    for name, share in zip(names_of(axis), shares, strict=True):
        assert share == pytest.approx(
            np.mean([s == t for t, s in zip(true, said, strict=True) if t == name])
        )
    assert axis.xaxis.get_major_formatter()(0.5, None) == "50 %"


def winner_said(files: Study) -> tuple[list[str], list[str]]:
    """Names of the true and the predicted classes of the leader's model."""
    text = (files.folder / "best/predictions.json").read_text()
    found = json.loads(text)["optimizers"][next(iter(means(files)))]
    names = files.meta["class_names"]
    return [names[k] for k in found["labels"]], [names[k] for k in found["predictions"]]


FIGURES = {
    "ranking": ranking,
    "pairs": pair_matrix,
    "curves_accuracy": curves_of("accuracy"),
    "curves_loss": curves_of("loss"),
    "curves": curves_together,
    "target": target,
    "time": time,
    "default_against_tuned": gains,
    "learning_rate": learning_rate,
    "budget": budget,
    "incumbents": incumbents,
    "schedules": heat("schedule"),
    "dense_width": heat("dense_width"),
    "slices": slices,
    "importance": importance,
    "confusion": confusion,
    "per_class": per_class,
}
ONE_ONLY = {
    "made up": {"curves"},
    "faces": {"curves_accuracy", "curves_loss", "pairs"},  # three optimizers, two repeats
    "rows": {"curves_accuracy", "curves_loss", "pairs", "slices", "importance"},  # few trials
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_what_the_files_say(
    shown: tuple[dict[str, Figure], Study], name: str, request: pytest.FixtureRequest
) -> None:
    figures, files = shown
    if name not in figures:
        assert name in ONE_ONLY[request.node.callspec.params["shown"]]
        return
    FIGURES[name](figures[name], files)


def test_mistakes_stand_in_order_with_their_classes_and_pictures() -> None:
    summary, fonts = load_study(STUDIES / "faces"), find_fonts([])
    pairs = [np.full((2, 4, 3), shade, np.uint8) for shade in (10, 20)]
    mistakes = (Mistake(0, 1, 0.875, pairs[0]), Mistake(2, 1, 0.5, pairs[1]))
    assert summary.confusion is not None
    summary = summary._replace(confusion=summary.confusion._replace(mistakes=mistakes))
    with style(fonts):
        looks = marks(summary.meta.optimizers, fonts)
        ((_, _, _, figure),) = draw_mistakes(summary, looks, fonts)
    (axis,), names = figure.axes, summary.meta.class_names
    assert [image.get_array().tolist() for image in axis.images] == [p.tolist() for p in pairs]
    said = [f"{names[0]} → {names[1]}", "88 % sure", f"{names[2]} → {names[1]}", "50 % sure"]
    assert [text.get_text() for text in axis.texts] == said
    lefts = [image.get_extent()[0] for image in axis.images]
    assert lefts == [axis.texts[0].get_position()[0], axis.texts[2].get_position()[0]]


def test_every_figure_is_read(shown: tuple[dict[str, Figure], Study]) -> None:
    assert shown[0].keys() <= FIGURES.keys()


# ---- the figures of several studies ----


@pytest.fixture(scope="module")
def several() -> tuple[dict[str, Figure], Several]:
    """Five data sets, and a setting that one of them has twice."""
    studies = [*sets(5), study("other", by=0.05, data="set0", preprocess="rescale")]
    found, fonts = several_studies(studies), find_fonts([])
    with style(fonts):
        drawn = [*draw_effects(found, fonts), *draw_across(found, fonts)]
        drawn += draw_pair(found.pairs[-1], 1, fonts)
    return {name: figure for name, _, _, figure in drawn}, found


def written(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_effects_stand_in_order_with_their_bounds(
    several: tuple[dict[str, Figure], Several],
) -> None:
    (axis,), lines = several[0]["effects"].axes, several[1].effects
    assert axis.get_xscale() == "linear" and axis.xaxis.get_major_formatter()(0.1, None) == "10"
    assert [one.moves for one in lines] == sorted((one.moves for one in lines), reverse=True)
    for label, one in zip(names_of(axis), lines, strict=True):
        assert label.startswith(f"{one.choice}: {one.worst} → {one.best}"[:20])
    dots = [line.get_xydata()[0] for line in axis.lines if line.get_marker() == "o"]
    same(list(map(tuple, dots)), [(one.moves, place) for place, one in enumerate(lines)])
    ticks = [
        tuple(xy) for line in axis.lines if line.get_marker() == "|" for xy in line.get_xydata()
    ]
    by_set = [(v, p) for p, one in enumerate(lines) if len(one.by_set) > 1 for v in one.by_set]
    same(ticks, by_set)
    bars = [line for line in axis.lines if line.get_linewidth() == 5]
    known = [(p, one) for p, one in enumerate(lines) if not math.isnan(one.low)]
    for line, (place, one) in zip(bars, known, strict=True):
        assert line.get_ydata()[0] == place
        assert tuple(line.get_xdata()) == (one.low, min(one.high, axis.get_xlim()[1]))
    assert written(axis)[::2] == [percent(one.moves) for one in lines]


@pytest.mark.parametrize("bounds", ["known", "none"])
def test_words_beside_the_effects_do_not_overlap(
    several: tuple[dict[str, Figure], Several], bounds: str
) -> None:
    found, fonts = several[1], find_fonts([])
    if bounds == "none":
        lines = [one._replace(moves=0.123, low=math.nan, high=math.nan) for one in found.effects]
        found = found._replace(effects=tuple(lines))
    with style(fonts):
        ((_, _, _, figure),) = draw_effects(found, fonts)
    (axis,) = figure.axes
    assert ("no bounds" in written(axis)) == (bounds == "none")
    boxes = [text.get_window_extent() for text in axis.texts]
    for value, words in zip(boxes[::2], boxes[1::2], strict=True):
        assert axis.bbox.x1 < value.x0 and value.x1 < words.x0 and words.x1 < figure.bbox.x1


def test_data_sets_and_bounds_are_those_of_each_optimizer(
    several: tuple[dict[str, Figure], Several],
) -> None:
    left, right = several[0]["across"].axes
    across = several[1].across
    assert across is not None
    placed = across.placed
    assert names_of(left) == [one.optimizer for one in placed]
    leader = placed[0].by_set
    middle = (len(leader) - 1) / 2
    gaps = [
        (best - value, place + (number - middle) / middle / 4)  # each set at a height of its own
        for place, one in enumerate(placed)
        for number, (best, value) in enumerate(zip(leader, one.by_set, strict=True))
    ]
    same([tuple(line.get_xydata()[0]) for line in marked(left) if len(line.get_xdata())], gaps)
    strokes = [line.get_xdata()[0] for line in left.lines if line.get_linewidth() == 2]
    assert strokes == [one.behind for one in placed]
    for width, shift, key in ((5.0, -0.17, "at_most_here"), (1.6, 0.17, "at_most_general")):
        bounds = [(getattr(one, key), place + shift) for place, one in enumerate(placed)]
        bars = [line.get_xydata()[1] for line in right.lines if line.get_linewidth() == width]
        end = right.get_xlim()[1]
        bounded = [(min(bound, end), height) for bound, height in bounds if bound is not None]
        same(list(map(tuple, bars)), bounded)
    assert across.margin in [line.get_xdata()[0] for line in right.lines]


def test_a_pair_shows_both_values_and_the_change(
    several: tuple[dict[str, Figure], Several],
) -> None:
    left, right = several[0]["pair_1"].axes
    changes = [
        one for one in several[1].pairs[-1].changes if not math.isnan(one.first + one.second)
    ]
    assert names_of(left) == [one.optimizer for one in changes]
    assert left.xaxis.get_major_formatter()(0.5, None) == "50 %"
    assert right.xaxis.get_major_formatter()(0.05, None) == "+5"
    open_, filled = marked(left)[::2], marked(left)[1::2]
    assert [line.get_xdata()[0] for line in open_] == [one.first for one in changes]
    assert [line.get_xdata()[0] for line in filled] == [one.second for one in changes]
    assert all(line.get_markerfacecolor() == "white" for line in open_)
    assert [line.get_xdata()[0] for line in marked(right)] == [one.difference for one in changes]
    bounds = [tuple(line.get_xdata()) for line in right.lines if line.get_linewidth() == 1.8]
    assert bounds == [(one.low, one.high) for one in changes]
