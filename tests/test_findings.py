"""`docs/findings.md` is what the published records say.

Page and figures are written from the archives in `docs/findings/` by

    python -m tests.test_findings

`records.tar.xz` has the studies of twelve optimizers, `more.tar.xz` those of several bases and of
another seed, `views.tar.xz` those of several views and image sizes; `--pack` of `study.compare`
writes such archives.
"""

import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from textwrap import wrap

import pytest
from scipy.stats import spearmanr

from study.common.text import at_least, at_most, counted, join, points, points_signed, some
from study.compare.across_sets import Across
from study.compare.archive import unpack
from study.compare.effects import Effect
from study.compare.figures import draw_studies
from study.compare.gaps import Gap
from study.compare.page import (
    across_table,
    effects_table,
    gains_table,
    levels_table,
    start_table,
    studies_table,
)
from study.compare.searches import PARTS
from study.compare.several import Several, several_studies
from study.compare.starts import space_of
from study.compare.untuned import TUNED, TuningGain, Untuned
from study.report.analysis.ranking import Row, fails_the_test
from study.report.analysis.summary import Summary, load_study
from study.report.figures.picture import Picture
from study.report.markdown import markdown_table
from study.report.tables import Table, percent
from study.verdicts.answer import Verdict

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- findings:.*?-->\n)(.*?)(<!-- end -->)", re.DOTALL)
DOCS = README.parent / "docs"
PAGE, FOLDER = DOCS / "findings.md", DOCS / "findings"
RECORDS, MORE = FOLDER / "records.tar.xz", FOLDER / "more.tar.xz"
VIEWS, START = FOLDER / "views.tar.xz", FOLDER / "start.toml"
MOST_BYTES = 3_000_000
REPEATED = "-again"  # ends the names of studies under another seed
EASY = 0.01  # between the worst and the best optimizer of a set
LEVEL = 0.001  # behind the leader: level with it
TIE = 0.0005  # less is no lead
TRIALS = 20
FURTHER = "-auto"  # ends the names of studies that went on as their reports advised
QUICK = "-quick"  # is part of the names of studies of several bases
VIEWED = "-views-"  # is part of the names of studies of several views and sizes
EPOCHS, CHOICES = (30, 100), ("views", "image size")  # of those

# Study -> what the images show, and where they are from.
SETS = {
    "bees": ("ants and bees", "zhangtao7750/syn, hymenoptera_data"),
    "flowers12": ("12 flowers", "daniele-gilio/Machine-Learning-Class, lab3/flowers"),
    "masks": ("faces with and without a mask", "prajnasb/observations, dest_folder"),
    "dogcat": ("dogs and cats", "ardamavi/Dog-Cat-Classifier, Train_Data"),
    "steel": ("surface defects of steel (NEU)", "duanhan123/YOLOv3_PyTorch, NEU-DET"),
    "signs": ("hands that sign a digit", "ardamavi/Sign-Language-Digits-Dataset"),
    "solar": ("solar cells, defective or not", "Python package elpv-dataset"),
    "trash": ("waste by material (TrashNet)", "congduytran12/Trash-Classification-"),
    "brain": ("brain scans by tumour", "SartajBhuvaji/Brain-Tumor-Classification-DataSet"),
    "flowers5": ("5 flowers, 128 pixels", "martinwestin/flower_classification"),
}


def studies_of(folder: Path) -> dict[str, Summary]:
    """Return all published studies by name."""
    found = [one for path in (RECORDS, MORE, VIEWS) for one in unpack(path, folder / path.name)]
    return {one.name: load_study(one) for one in found}


def chosen(studies: Mapping[str, Summary]) -> list[Summary]:
    """Return the studies of the main question: twelve optimizers on VGG16."""
    return [studies[name] for name in SETS if name in studies]


def of_bases(studies: Mapping[str, Summary]) -> list[Summary]:
    """Return the studies of several bases, of the data sets that have all of them."""
    return _whole(studies, f"{QUICK}-")


def of_views(studies: Mapping[str, Summary]) -> list[Summary]:
    """Return the studies of several views and sizes, of the data sets that have all of them."""
    return _whole(studies, VIEWED)


def _whole(studies: Mapping[str, Summary], part: str) -> list[Summary]:
    found = [
        [studies[name] for name in studies if name.startswith(f"{known}{part}")] for known in SETS
    ]
    most = max(map(len, found))
    return [one for same in found for one in same if most and len(same) == most]


# ---- the page ----


def check(studies: Mapping[str, Summary]) -> None:
    """Check what the prose takes for granted."""
    for one in chosen(studies):
        wanted = {
            "base": "VGG16",
            "image_size": 224,
            "trials": TRIALS,
            "max_epochs": 30,
            "confirm": 5,
        }
        wanted |= {"space": "default", "tuner": "random", "margin": 2.0, "repeats": 5, "seed": 1}
        assert {key: one.meta.settings[key] for key in wanted} == wanted, one.meta.name
        assert len(one.meta.optimizers) == 12
    bases = {one.meta.settings["base"].split(".")[0].lower() for one in of_bases(studies)}
    assert bases == {"vgg16", "mobilenetv2", "efficientnet_lite0"}, bases
    for one in (*of_bases(studies), *of_views(studies)):
        wanted = {"space": "quick", "tuner": "random", "trials": 8, "repeats": 5, "margin": 2.0}
        assert {key: one.meta.settings[key] for key in wanted} == wanted, one.meta.name
    assert {tuple(one.meta.optimizers) for one in of_views(studies)} == {("adam",)}
    assert {one.meta.settings["base"] for one in of_views(studies)} == {"MobileNetV2"}


def page_of(studies: Mapping[str, Summary]) -> str:
    """Return the whole page."""
    check(studies)
    main = several_studies(chosen(studies))
    figures = {one.name: _figure(one) for one in draw_studies(main)[0]}
    blocks = [
        *_answer(main, studies, figures["across"]),
        *_in_short(main, studies),
        *_sets(chosen(studies)),
    ]
    blocks += _went_on(studies)
    blocks += ["## What the wrong choice costs", figures["levels"]]
    blocks += [*_tables(levels_table(main)), figures["effects"]]
    blocks += _tables(effects_table(main), across_table(main), gains_table(main))
    blocks += [*_tables(start_table(main)), *_use_start(main)]
    blocks += [*_bases(of_bases(studies)), *_views(of_views(studies)), *_again(studies)]
    blocks += _closing(studies)
    return "\n\n".join(blocks) + "\n"


def _answer(found: Several, studies: Mapping[str, Summary], figure: str) -> Iterator[str]:
    assert found.across is not None
    images = [sum(one.meta.class_counts) for one in chosen(studies)]
    yield "# Which optimizer is best on a frozen base?"
    yield f"**{found.headline}**"
    yield figure
    easy = sum(max(values) - min(values) < EASY for values in _by_set(found).values())
    yield (
        f"{len(images)} public sets of {min(images):,} to {max(images):,} images, each a study of "
        "its own. A frozen VGG16 with ImageNet weights turns images of 224 pixels into 512 "
        "numbers; the head on it, which alone is trained, is a dense layer (64 to 512 units) with "
        "batch normalization, dropout and softmax, trained in batches of 16 for 30 epochs (the "
        "search space `default`). In each of five repeats every one of 12 optimizers was tuned by "
        "a random search of 20 trials, and the winner was trained again five times, with other "
        "seeds and on other splits of the same images. Untuned is an optimizer with Keras's "
        "defaults (a constant learning rate of 0.001, SGD's 0.01) on a head of 170 units with a "
        "dropout of 0.5. `momentum` and `nesterov` are Keras's SGD with momentum (0.9 by default), "
        "`amsgrad` is Adam with `amsgrad=True`. Points are percentage points of validation "
        "accuracy, at an epoch that is chosen on one half of the validation images and judged on "
        "the other."
    )
    yield (
        "*Good enough* is an optimizer that is certainly at most 2 points behind the best and of "
        "which no confirmation run (the winner trained again) diverged; *excluded* is one that is "
        "certainly behind another, *undecided* one that is neither. *Certainly* means with 95 % "
        "confidence, together with everything else in the same table (in the table of levels: "
        "about the same choice; verdicts on a single set: about that set alone). *On these sets* "
        "is about these collections of images, *in general* about further ones like them: each set "
        "is one observation, so that bound is usually wider (not always: it rests on how sets "
        "differ, the other on how repeats do). The sets were not drawn at random but found, so "
        "*in general* holds as far as yours is like them. On "
        f"{easy} of the {len(images)} all tuned optimizers are within {points(EASY)} points of "
        "each other: such a set says that the choice does not matter there, and draws averages "
        "towards 0."
    )
    yield (
        "This page is written from the [records](findings/records.tar.xz) of the studies by "
        "`python -m tests.test_findings`, and a test compares the two."
    )


def _by_set(found: Several) -> dict[str, list[float]]:
    """Return data set -> values of the tuned optimizers."""
    assert found.across is not None
    columns = zip(*(one.by_set for one in found.across.placed), strict=True)
    return {name: list(values) for name, values in zip(found.across.sets, columns, strict=True)}


def _in_short(found: Several, studies: Mapping[str, Summary]) -> Iterator[str]:
    across = found.across
    assert across is not None
    yield "## In short"
    effects = {one.choice: one for one in found.effects}
    lines = [
        f"**Which optimizer.** {_optimizers(found)}",
        f"**Beyond the average.** {_single_sets(across)}",
        f"**Untuned.** {_untuned(across.untuned.gaps)}",
        f"**What tuning gains.** {_tuning(across.untuned.gains)}",
        f"**Adam's defaults.** {_adam(across.untuned)}",
        f"**SGD.** {_sgd(found)}",
        f"**How many trials.** {_budget(effects['search budget'])}",
        f"**When to stop.** {_epoch(effects['epoch'])}",
        f"**Schedule and width.** {_levels(effects['schedule'])} {_levels(effects['dense width'])} "
        "The sets were all searched with the same configurations, so that they agree is no "
        "evidence.",
    ]
    if found.starts.found:
        lines.append(f"**A configuration to start from.** {_start(found)}")
    if bases := of_bases(studies):
        lines.append(f"**Base.** {_base(several_studies(bases), bases)}")
    if views := of_views(studies):
        lines.append(f"**Views and size.** {_views_in_short(views)}")
    yield "\n".join(f"- {line}" for line in lines)


def _base(found: Several, studies: Sequence[Summary]) -> str:
    line = next(one for one in found.effects if one.choice == "base")
    first, *_ = line.gaps
    ahead = [one.level for one in line.gaps if one.behind - first.behind < LEVEL]
    texts = [
        f"{one.level} {points(one.behind)} ({at_least(one.at_least)} to {at_most(one.at_most)}"
        f"{_general(one)})"
        for one in line.gaps[len(ahead) :]
    ]
    sets = counted(len({one.meta.data["fingerprint"] for one in studies}), "set")
    moves = sorted(zip(line.by_set, line.data, strict=True))
    (least, where_least), (most, where_most) = moves[0], moves[-1]
    text = (
        f"On {sets}, with the learning rates of four optimizers tuned, {_lead(ahead)} as measured; "
        f"points behind: {join(texts)}. It depends on the set: {line.worst} is from "
        f"{_ahead(least)} {line.best} ({where_least}) to {_ahead(most)} it ({where_most})."
    )
    placed = found.across.placed if found.across is not None else ()
    good = [one for one in placed if one.general is Verdict.GOOD_ENOUGH]
    if good:
        worst = max(one.at_most_general or 0.0 for one in good)
        text += (
            f" Over these bases tuned {join([one.optimizer for one in good])} are good enough in "
            f"general: each at most {at_most(worst)} points behind the best on average."
        )
    return text


def _lead(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} leads"
    return f"{join(names)} lead (within {points(LEVEL)} points of each other)"


def readme_of(found: Several) -> str:
    """Return what the README says of the findings."""
    across = found.across
    assert across is not None
    effects = {one.choice: one for one in found.effects}
    quoted = [
        f"**{found.headline}**",
        f"- {_untuned(across.untuned.gaps)}",
        f"- {_budget(effects['search budget'])}",
        f"- {_single_sets(across)}",
    ]
    wrapped = [
        line
        for text in quoted
        for line in wrap(text, 97, subsequent_indent="  " if text.startswith("- ") else "")
    ]
    end = (
        f"{len(across.sets)} studies of public sets on a frozen VGG16 say so, at 95 % confidence. "
        "All bounds, other bases, configurations to start from and the records are in "
        "[docs/findings.md](docs/findings.md)."
    )
    return "\n".join([*(f"> {line}" for line in wrapped), "", *wrap(end, 99)])


def _between(low: float, high: float) -> str:
    return f"{points_signed(low)} to {points_signed(high)}"


def _optimizers(found: Several) -> str:
    assert found.across is not None
    line = next(one for one in found.effects if one.choice == "optimizer")
    placed = found.across.placed
    ahead = [one.optimizer for one in placed if one.behind < LEVEL]
    return (
        f"As measured, {_lead(ahead)}, and all others are within {points(placed[-1].behind)} "
        f"points; the worst and the best, whichever they are, lie {points(line.low)} to "
        f"{points(line.high)} points apart on these sets."
    )


def _single_sets(across: Across) -> str:
    """Say what an average hides."""
    worst = max(across.placed, key=lambda one: one.worst)
    columns = zip(*(one.by_set for one in across.placed), strict=True)
    behind = [max(column) - value for column, value in zip(columns, worst.by_set, strict=True)]
    where = across.sets[behind.index(max(behind))]
    out: dict[str, list[str]] = {}
    for one in across.placed:
        on = [n for n, v in zip(across.sets, one.verdicts, strict=True) if v is Verdict.EXCLUDED]
        if on:
            out.setdefault(join(on), []).append(one.optimizer)
    texts = [f"{join(names)} on {on}" for on, names in out.items()]
    return (
        f"On a single set the choice can cost more: as measured up to {points(worst.worst)} points "
        f"({worst.optimizer} on {where}); certainly behind another optimizer: "
        f"{join(texts) if texts else 'none'}."
    )


def _tuning(gains: Sequence[TuningGain]) -> str:
    sure = [f"{one.optimizer} ({points_signed(one.gain)} points)" for one in gains if one.low > 0]
    least = min(gains, key=lambda one: one.gain)
    return (
        "Over Keras's defaults, a search of 20 trials certainly gains on these sets for "
        f"{join(sure) if sure else 'no optimizer'}; the median gain is "
        f"{points_signed(median(one.gain for one in gains))}, the least that of {least.optimizer} "
        f"({points_signed(least.gain)}, 95 % {_between(least.low, least.high)})."
    )


def _adam(found: Untuned) -> str:
    one = next(gain for gain in found.gains if gain.optimizer == "adam")
    gap = next(gap for gap in found.gaps if gap.level == "adam")
    general = ""
    if not math.isnan(one.general_low):
        general = f", {_between(one.general_low, one.general_high)} in general"
    return (
        f"Tuning Adam gains {points_signed(one.gain)} points on average "
        f"({_between(one.low, one.high)} on these sets{general}). Untuned it is, as measured, "
        f"{points(gap.behind)} points behind the best of all default settings and the tuned "
        f"leader, {found.gaps[0].level}, and at most {at_most(gap.at_most)} on these sets"
        f"{_general(gap)}."
    )


def _general(one: Gap) -> str:
    if math.isnan(one.general_at_most):
        return ""
    return f", {at_most(one.general_at_most)} in general"


def _untuned(gaps: Sequence[Gap]) -> str:
    names = [one for one in gaps if not one.level.endswith(TUNED)]
    known = [one for one in names if not math.isnan(one.general_at_most)]
    best = min(known or names, key=lambda one: one.general_at_most if known else one.at_most)
    behind = [one.level for one in gaps if one.at_least > 0]
    text = (
        f"Without tuning take {best.level} as Keras has it: at most {at_most(best.at_most)} points "
        f"behind all other defaults and the tuned leader on these sets{_general(best)}."
    )
    return f"{text} Certainly behind: {join(behind)}." if behind else text


def _sgd(found: Several) -> str:
    across = found.across
    assert across is not None
    kinds, places = ("sgd", "momentum", "nesterov"), {p.optimizer: p for p in across.placed}
    led = []
    for number, (data, values) in enumerate(_by_set(found).items()):
        first, second = sorted(values, reverse=True)[:2]
        name = next((k for k in kinds if places[k].by_set[number] == first), None)
        if name is not None and first - second >= TIE:
            led.append(f"{name} on {data} (by {points(first - second)} points)")
    text = "With or without momentum, it leads on none of these sets by more than 0.05 points."
    if led:
        text = f"With or without momentum, it leads, as measured, on these sets: {join(led)}."
    counts, lost = [], []
    for name in kinds:
        one = places[name]
        good, out = one.verdicts.count(Verdict.GOOD_ENOUGH), one.verdicts.count(Verdict.EXCLUDED)
        rest = len(one.verdicts) - good - out
        counts.append(f"{name} is good enough on {good}, undecided on {rest}, excluded on {out}")
        lost.append(f"{100 * one.search_diverged / one.trials:.0f} % ({name})")
    others = [one for one in across.placed if one.optimizer not in kinds]
    most = max(one.search_diverged / one.trials for one in others)
    return (
        f"{text} Of the {len(across.sets)} sets {'; '.join(counts)}. It needs its learning rate: "
        f"in the searches {join(lost)} of the trials diverged, of other optimizers at most "
        f"{100 * most:.0f} %."
    )


def _epoch(line: Effect) -> str:
    worse = "worse" if line.best == "last" else "better"
    return (
        "Taking the epoch that is best on one half of the validation images was, as measured on "
        f"the other half, {points(line.moves)} points {worse} than taking the last of 30 "
        f"({points(line.low)} to {points(line.high)} on these sets"
        f"{'' if line.low > 0 else ', so this may be chance'})."
    )


def _budget(line: Effect) -> str:
    budgets = {level: budget for budget, level in PARTS.items()}
    parts = sorted(line.gaps, key=lambda one: -budgets[one.level])
    counts = [str(int(TRIALS * budgets[one.level])) for one in parts]
    behind, most = [points(one.behind) for one in parts], [at_most(one.at_most) for one in parts]
    return (
        f"The winners of {join(counts)} trials are {join(behind)} points behind the best of these "
        f"on these sets (at most {join(most)})."
    )


def _levels(line: Effect) -> str:
    best, *others = line.gaps
    texts = [f"{one.level} {points(one.behind)} (at most {at_most(one.at_most)})" for one in others]
    sure = [one.level for one in others if one.at_least > 0]
    end = f"certainly behind: {join(sure)}" if sure else "none of it is certain"
    return (
        f"As measured {best.level} is the best {line.choice.removeprefix('dense ')}, and behind it "
        f"are {join(texts)}: {end}."
    )


def _start(found: Several) -> str:
    overall, best = found.starts.overall, found.starts.found[0]
    assert overall is not None
    sets = len(found.starts.sets)
    text = (
        "The configuration of any optimizer that is best on all sets but one reaches, on that one, "
        f"{percent(overall.value)} % on average, after the last epoch: {_ahead(overall.behind)} "
        f"tuning the same optimizer there, which had {TRIALS} trials on one set, not "
        f"{best.tried} configurations on {sets - 1}. It is one of "
        f"{join(_counted(overall.optimizers))}."
    )
    lost, fails = max((max(one.by_set), one) for one in found.starts.found)
    if lost > found.margin:
        where = found.starts.sets[fails.by_set.index(lost)]
        text += (
            f" Such a choice can fail: that of {fails.optimizer} is {points(lost)} points behind "
            f"tuning on {where}."
        )
    if not math.isnan(best.low):
        text += (
            f" That of {best.optimizer}, the first in the table below, is from {_ahead(best.low)} "
            f"tuning to {_ahead(best.high)} it on sets of this sort (95 %)."
        )
    return text


def _counted(names: Sequence[str]) -> list[str]:
    return [f"{name} for {counted(names.count(name), 'set')}" for name in dict.fromkeys(names)]


def _ahead(behind: float) -> str:
    return f"{points(abs(behind))} {'behind' if behind > 0 else 'ahead of'}"


def _sets(studies: Sequence[Summary]) -> Iterator[str]:
    yield "## The data sets"
    rows, fallen = [], []
    for one in studies:
        what, source = SETS[one.meta.name]
        good = [judged.optimizer for judged in one.answer.of(Verdict.GOOD_ENOUGH)]
        names = "all 12" if len(good) == len(one.rows) else some(good, "optimizer")
        leader = _leader(one)
        fallen += [one.meta.name] if fails_the_test(one.meta, leader) else []
        rows.append(
            (
                f"{one.meta.name}: {what}",
                f"{sum(one.meta.class_counts):,}",
                str(len(one.meta.class_counts)),
                f"{one.meta.split_sizes['validation']:,}",
                f"{one.answer.leader}, {percent(leader.mean)}",
                percent(leader.test_value),
                names or "none yet",
                f"{one.meta.seconds['search'] / 60:.0f}",
                source,
            )
        )
    head = (
        *("set", "images", "classes", "validation", "leader, %", "test, %", "good enough"),
        *("minutes", "from"),
    )
    note = (
        "Verdicts of each study alone, on its own images, after five repeats, at a margin of 2 "
        "points. Validation: images of a validation split. Test: the leader on its test images"
        f"{f' (unlike the others on {join(fallen)})' if fallen else ''}. Minutes: of "
        "the search, on two cores of a shared machine, without the features."
    )
    yield from markdown_table(Table("", note, head, tuple(rows)))[1:]


def _leader(one: Summary) -> Row:
    return next(row for row in one.rows if row.optimizer == one.answer.leader)


def _went_on(studies: Mapping[str, Summary]) -> Iterator[str]:
    """Yield what became of studies that went on."""
    for name, one in studies.items():
        if name.endswith(FURTHER):
            good = [judged.optimizer for judged in one.answer.of(Verdict.GOOD_ENOUGH)]
            repeats = max(len(row.by_repeat) for row in one.rows)
            yield (
                f"The report of {name.removesuffix(FURTHER)} advises to go on with `--repeats "
                f"auto`. That ended after {repeats} repeats, {len(one.records):,} runs and "
                f"{one.meta.seconds['search'] / 60:.0f} minutes of search. Good enough "
                f"then: {join(good) if good else 'none'}."
            )


def start_space(found: Several) -> str:
    """Return the configuration to start from as a search space."""
    return space_of(found.starts.found[0], found.starts.studies[0])


def _use_start(found: Several) -> Iterator[str]:
    if not found.starts.found:
        return
    best = found.starts.found[0].optimizer
    yield (
        "A configuration is judged as a whole: what is bad on average, such as a narrow layer, may "
        "be good in it. Where few of the choices are the same, or the interval is wide or missing, "
        f"it is not to be relied on. The first one, of {best}, is "
        "[start.toml](findings/start.toml), and `python -m study.search --space "
        "docs/findings/start.toml` trains it on your images; `python -m study.compare` writes each "
        "into the folder `start` beside its page."
    )


def _bases(studies: Sequence[Summary]) -> Iterator[str]:
    if not studies:
        return
    found = several_studies(studies)
    yield "## Other bases"
    sets = len({one.meta.data["fingerprint"] for one in studies})
    yield (
        f"VGG16, MobileNetV2 and EfficientNet-Lite0 on {counted(sets, 'data set')}, each with "
        "`--space quick` (only the learning rate is tuned, 8 trials), sgd, adam, rmsprop, nadam. "
        "The tables are to be read as those above. The records are in "
        "[more.tar.xz](findings/more.tar.xz)."
    )
    yield f"**{found.headline}**"
    yield from found.details
    for table in (effects_table(found), levels_table(found), studies_table(found)):
        heading, *_, rows = markdown_table(table)
        yield f"#{heading}"
        yield rows


def _views(studies: Sequence[Summary]) -> Iterator[str]:
    if not studies:
        return
    yield "## Views and image size"
    settings = [one.meta.settings for one in studies]
    sizes, views = (sorted({one[key] for one in settings}) for key in ("image_size", "views"))
    yield (
        f"MobileNetV2 on {_names_of(studies)}, with `--space quick --optimizers adam`: "
        f"{join(list(map(str, views)), 'or')} views of each training image (itself, and crops, "
        f"turned, mirrored, brighter or darker) at {join(list(map(str, sizes)), 'or')} pixels, "
        f"with {join(list(map(str, EPOCHS)), 'or')} epochs a trial, {len(studies)} studies of five "
        "repeats. The records are in [views.tar.xz](findings/views.tar.xz)."
    )
    yield (
        "Points behind the best level of the same choice after so many epochs, as measured and (at "
        "95 %, as in the table of levels) at least to at most on these sets:"
    )
    rows = []
    for choice in CHOICES:
        lines = [line for _, line in _by_epochs(studies, choice)]
        for place, level in enumerate(lines[0].levels):
            each = [next(gap for gap in line.gaps if gap.level == level) for line in lines]
            rows.append(("" if place else choice, level, *map(_behind, each)))
    head = ("choice", "level", *(f"{epochs} epochs" for epochs in EPOCHS))
    yield markdown_table(Table("", "", head, tuple(rows)))[-1]
    yield (
        f"Validation accuracy in percent, mean over the sets, after {EPOCHS[0]} and {EPOCHS[1]} "
        "epochs, as measured:"
    )
    cells = [[_reached(studies, size, number) for number in views] for size in sizes]
    rows = [(f"{size} px", *row) for size, row in zip(sizes, cells, strict=True)]
    head = ("size", *(counted(number, "view") for number in views))
    yield markdown_table(Table("", "", head, tuple(rows)))[-1]
    line = next(e for e in several_studies(studies).effects if e.choice == "epochs of a trial")
    yield (
        f"Over all views and sizes {line.best} epochs are, as measured, {points(line.moves)} "
        f"points better than {line.worst} ({points(line.low)} to {points(line.high)})."
    )


def _reached(studies: Sequence[Summary], size: int, views: int) -> str:
    """Return the mean accuracy over the sets after each number of epochs."""
    found: dict[int, list[float]] = {epochs: [] for epochs in EPOCHS}
    for one in studies:
        if (one.meta.settings["image_size"], one.meta.settings["views"]) == (size, views):
            found[one.meta.settings["max_epochs"]].append(one.rows[0].mean)
    return ", ".join(percent(fmean(values)) for values in found.values())


def _names_of(studies: Sequence[Summary]) -> str:
    return join(list(dict.fromkeys(one.meta.name.split(VIEWED)[0] for one in studies)))


def _behind(gap: Gap) -> str:
    return f"{points(gap.behind)} ({at_least(max(gap.at_least, 0.0))} to {at_most(gap.at_most)})"


def _by_epochs(studies: Sequence[Summary], choice: str) -> Iterator[tuple[int, Effect]]:
    for epochs in EPOCHS:
        found = several_studies([s for s in studies if s.meta.settings["max_epochs"] == epochs])
        yield epochs, next(one for one in found.effects if one.choice == choice)


def _views_in_short(studies: Sequence[Summary]) -> str:
    texts = []
    for choice in CHOICES:
        for epochs, line in _by_epochs(studies, choice):
            best, *_, worst = line.gaps
            texts.append(f"{worst.level} {_behind(worst)} behind {best.level} at {epochs} epochs")
    return f"On {_names_of(studies)}, with MobileNetV2 and Adam, points: {', '.join(texts)}."


def _again(studies: Mapping[str, Summary]) -> Iterator[str]:
    again = [name for name in studies if name.endswith(REPEATED)]
    if not again:
        return
    yield "## The same under another seed"
    for name in again:
        first, second = studies[name.removesuffix(REPEATED)], studies[name]
        (pair,) = several_studies([first, second]).pairs
        values = {row.optimizer: row.mean for row in second.rows}
        both = [(row.mean, values[row.optimizer]) for row in first.rows]
        yield (
            f"{first.meta.name}: {pair.headline} The order of the 12 optimizers has a rank "
            f"correlation of {spearmanr(both).statistic:.1f}."
        )


def _closing(studies: Mapping[str, Summary]) -> Iterator[str]:
    yield "## Add your own study"
    yield (
        "```sh\npython -m study.search --data my_photos --tuner random --repeats 5 --name mine\n"
        "python -m study.compare --study docs/findings/records.tar.xz --study mine\n```"
    )
    yield (
        "The comparison is then over these sets and yours, of the optimizers that all have. "
        "`--pack FILE.tar.xz` writes the records of all studies of a comparison, without pictures, "
        "predictions and paths."
    )
    yield "## What this does not say"
    yield (
        "It is about small dense heads on a frozen base, collections of some hundreds to some "
        "thousands of images, batches of 16, 30 epochs, and validation images like the training "
        f"images; not about training whole networks. {len(chosen(studies))} sets are few, so the "
        "bounds in general are wide, and nothing is known of sets of another sort. All searches "
        "share one seed: what a tuned winner owes to its draws hardly repeats from set to set "
        "(residuals correlate by 0.03), but what is read from trials does, so nothing is claimed "
        "of that in general. Several tables bound the same difference; their bounds differ because "
        "each holds together with other statements."
    )
    yield from _unlike(chosen(studies))
    machines = sorted({str(one.meta.device["name"]) for one in studies.values()})
    versions = {f"Keras {one.meta.versions[-1]['keras']}" for one in studies.values()}
    yield (
        f"Two cores of {join(machines)}, shared, without a GPU; {join(sorted(versions))}. VGG16 "
        "takes 7 to 11 images a second there; a study needed at most 1.8 GB of memory."
    )


def _unlike(studies: Sequence[Summary]) -> Iterator[str]:
    """Yield the sets whose test images are not like the others."""
    for one in studies:
        row = _leader(one)
        if fails_the_test(one.meta, row):
            yield (
                f"On {one.meta.name} the leader reaches {percent(row.test_value)} % on the test "
                f"images that the set comes with, and {percent(row.mean)} % in validation: there "
                "validation says little about new images, and so does the choice by it."
            )


def _figure(picture: Picture) -> str:
    return f"![{picture.title}](findings/{picture.name}.png)\n\n*{picture.caption}*"


def _tables(*tables: Table) -> Iterator[str]:
    for table in tables:
        if table.rows:
            yield from markdown_table(table)


# ---- tests ----


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    return studies_of(tmp_path_factory.mktemp("findings"))


def test_the_page_says_what_the_records_say(studies: dict[str, Summary]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page_of(studies)


def test_the_readme_begins_with_the_findings(studies: dict[str, Summary]) -> None:
    found = BLOCK.search(README.read_text(encoding="utf-8"))
    assert found and found[2].strip() == readme_of(several_studies(chosen(studies)))


def test_the_search_space_to_start_from_is_that_of_the_records(studies: dict[str, Summary]) -> None:
    assert START.read_text(encoding="utf-8") == start_space(several_studies(chosen(studies)))


def test_the_records_are_small_and_name_no_place(studies: dict[str, Summary]) -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.tar.xz")) <= MOST_BYTES
    for one in studies.values():
        text = f"{one.meta.command} {one.meta.settings} {one.meta.data}"
        assert not re.search(r"(?<![\w.])/\w+/", text), text


def main() -> int:
    """Write page and figures."""
    with tempfile.TemporaryDirectory() as folder:
        studies = studies_of(Path(folder))
    main = several_studies(chosen(studies))
    for picture in draw_studies(main)[0]:
        (FOLDER / f"{picture.name}.png").write_bytes(picture.png)
    START.write_text(start_space(main), encoding="utf-8")
    PAGE.write_text(page_of(studies), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(
        BLOCK.sub(lambda m: f"{m[1]}{readme_of(main)}\n{m[3]}", text), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
