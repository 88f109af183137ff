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
from statistics import median
from textwrap import wrap

import pytest

from study.common.text import at_least, at_most, counted, join, points, points_signed, some
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
from study.compare.several import Several, several_studies
from study.compare.untuned import TuningGain
from study.report.analysis.ranking import fails_the_test
from study.report.analysis.summary import Summary, load_study
from study.report.markdown import markdown_table
from study.report.tables import Table, percent
from study.verdicts.answer import Verdict

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- findings:.*?-->\n)(.*?)(<!-- end -->)", re.DOTALL)
DOCS = README.parent / "docs"
PAGE, FOLDER = DOCS / "findings.md", DOCS / "findings"
RECORDS, MORE = FOLDER / "records.tar.xz", FOLDER / "more.tar.xz"
VIEWS = FOLDER / "views.tar.xz"
MOST_BYTES = 3_000_000
REPEATED = "-again"  # ends the names of studies under another seed
EASY = 0.01  # between the worst and the best optimizer of a set
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
        wanted = {"base": "VGG16", "image_size": 224, "trials": 20, "max_epochs": 30, "confirm": 5}
        wanted |= {"space": "default", "tuner": "random", "margin": 2.0, "repeats": 5, "seed": 1}
        assert {key: one.meta.settings[key] for key in wanted} == wanted, one.meta.name
        assert len(one.meta.optimizers) == 12
    bases = {one.meta.settings["base"].split(".")[0].lower() for one in of_bases(studies)}
    assert bases <= {"vgg16", "mobilenetv2", "efficientnet_lite0"}, bases


def page_of(studies: Mapping[str, Summary]) -> str:
    """Return the whole page."""
    check(studies)
    main = several_studies(chosen(studies))
    blocks = [*_answer(main, studies), *_in_short(main, studies), *_sets(chosen(studies))]
    blocks += _went_on(studies)
    blocks += ["## What the wrong choice costs", _figure("levels", main)]
    blocks += [*_tables(levels_table(main)), _figure("effects", main)]
    blocks += _tables(effects_table(main), across_table(main), gains_table(main))
    blocks += [*_tables(start_table(main)), *_use_start(main)]
    blocks += [*_bases(of_bases(studies)), *_views(of_views(studies)), *_again(studies)]
    blocks += _closing(studies)
    return "\n\n".join(blocks) + "\n"


def _answer(found: Several, studies: Mapping[str, Summary]) -> Iterator[str]:
    assert found.across is not None
    images = [sum(one.meta.class_counts) for one in chosen(studies)]
    yield "# Which optimizer is best on a frozen base, in general?"
    yield f"**{found.headline}**"
    yield _figure("across", found)
    easy = sum(max(values) - min(values) < EASY for values in _by_set(found).values())
    yield (
        f"{len(images)} public sets of {min(images):,} to {max(images):,} images, a convenience "
        "sample of what people classify; each is a study of its own. A frozen VGG16 with ImageNet "
        "weights turns images of 224 pixels into 512 numbers; the head on it is a dense layer (64 "
        "to 512 units, by default 170) with batch normalization, dropout and softmax, trained in "
        "batches of 16 for 30 epochs (the search space `default`). In each of five repeats every "
        "one of 12 optimizers was tuned by a random search of 20 trials, and the winner was "
        "trained again five times, with splits and seeds that no search had seen. Points are "
        "percentage points of validation accuracy."
    )
    yield (
        "*Good enough* is an optimizer that is certainly at most 2 points behind the best, "
        "*excluded* one that is certainly behind another, *undecided* one that is neither. "
        "*Certainly* means with 95 % confidence, together with everything else in the same table "
        "(in the table of levels: about the same choice). *On these sets* is "
        "about these collections of images; *in general* is about data sets of which these are a "
        "sample: each set is one observation, so that bound is usually wider (not always: it rests "
        "on how sets differ, the other on how repeats do). `momentum` and `nesterov` are Keras's "
        "SGD with momentum (0.9 by default), `amsgrad` is Adam with `amsgrad=True`. On "
        f"{easy} of the {len(images)} sets all tuned optimizers are within {points(EASY)} points "
        "of each other: such a set says that the choice does not matter there, and draws averages "
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
        f"**What tuning gains.** {_tuning(found)}",
        f"**Adam as Keras has it.** {_adam(found)}",
        f"**Without tuning.** {_untuned(across.untuned.gaps)}",
        f"**SGD.** {_sgd(found)}",
        f"**How many trials.** {_budget(effects['search budget'])}",
        f"**When to stop.** {_epoch(effects['epoch'])}",
        f"**Schedule.** {_levels(effects['schedule'])}",
        f"**Width.** {_levels(effects['dense width'])}",
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
    best, *others = line.gaps
    sets = counted(len({one.meta.data["fingerprint"] for one in studies}), "set")
    texts = [
        f"{one.level} {points(one.behind)} ({at_least(one.at_least)} to {at_most(one.at_most)})"
        for one in others
    ]
    text = (
        f"On {sets}, with the learning rates of four optimizers tuned, {best.level} is best as "
        f"measured; points behind it: {join(texts)}."
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


def readme_of(found: Several) -> str:
    """Return what the README says of the findings."""
    assert found.across is not None
    effects = {one.choice: one for one in found.effects}
    quoted = [
        f"**{found.headline}**",
        f"- {_tuning(found)}",
        f"- {_budget(effects['search budget'])}",
    ]
    wrapped = [
        line
        for text in quoted
        for line in wrap(text, 97, subsequent_indent="  " if text.startswith("- ") else "")
    ]
    end = (
        f"This is what {len(found.across.sets)} studies of public sets on a frozen VGG16 say. "
        "[docs/findings.md](docs/findings.md) has the bounds, other bases, "
        "configurations to start from, and the records, for you to add yours."
    )
    return "\n".join([*(f"> {line}" for line in wrapped), "", *wrap(end, 99)])


def _between(low: float, high: float) -> str:
    return f"{points_signed(low)} to {points_signed(high)}"


def _optimizers(found: Several) -> str:
    assert found.across is not None
    line = next(one for one in found.effects if one.choice == "optimizer")
    first, *others = found.across.placed
    near = sum(one.behind <= 0.01 for one in others)
    within = f"all {near}" if near == len(others) else f"{near} of the {len(others)}"
    return (
        f"As measured, tuned {first.optimizer} leads and {within} others are within one point of "
        f"it; the worst, {line.worst}, is {points(line.moves)} points behind {line.best} "
        f"({points(line.low)} to {points(line.high)} on these sets)."
    )


def _tuning(found: Several) -> str:
    assert found.across is not None
    gains = found.across.untuned.gains
    sure = [f"{one.optimizer} ({points_signed(one.gain)} points)" for one in gains if one.low > 0]
    middle = median(one.gain for one in gains)
    least = min(gains, key=lambda one: one.gain)
    return (
        "Over Keras's default settings, tuning certainly gains on these sets for "
        f"{join(sure) if sure else 'no optimizer'}; as measured, half of the {len(gains)} gain "
        f"{points(middle)} points or less, and {least.optimizer} gains least "
        f"({points_signed(least.gain)}, 95 % {_between(least.low, least.high)})."
    )


def _adam(found: Several) -> str:
    assert found.across is not None
    one: TuningGain = next(g for g in found.across.untuned.gains if g.optimizer == "adam")
    text = (
        f"Tuning it gains {points_signed(one.gain)} points on average: "
        f"{_between(one.low, one.high)} on these sets"
    )
    if not math.isnan(one.general_low):
        text += f", {_between(one.general_low, one.general_high)} in general"
    return f"{text}. {_gap_text(found.across.untuned.gaps, 'adam')}"


def _gap_text(gaps: Sequence[Gap], level: str) -> str:
    one = next(gap for gap in gaps if gap.level == level)
    return (
        f"Its default settings are, as measured, {points(one.behind)} points behind {gaps[0].level}"
        f", and at most {at_most(one.at_most)} behind the best of all default settings and the "
        f"tuned leader on these sets{_general(one)}."
    )


def _general(one: Gap) -> str:
    if math.isnan(one.general_at_most):
        return ""
    return f", {at_most(one.general_at_most)} in general"


def _untuned(gaps: Sequence[Gap]) -> str:
    names = [one for one in gaps if not one.level.endswith("tuned")]
    safest = min(names, key=lambda one: one.at_most)
    behind = [one.level for one in gaps if one.at_least > 0]
    text = (
        f"On these sets the safest default settings are those of {safest.level}: at most "
        f"{at_most(safest.at_most)} points behind the best of all default settings and the tuned "
        "leader"
    )
    known = [one for one in names if not math.isnan(one.general_at_most)]
    if known:
        best = min(known, key=lambda one: one.general_at_most)
        text += f"; in general those of {best.level}: at most {at_most(best.general_at_most)}"
    return f"{text}. Certainly behind on these sets: {join(behind) if behind else 'none'}."


def _sgd(found: Several) -> str:
    across = found.across
    assert across is not None
    kinds, places = ("sgd", "momentum", "nesterov"), {p.optimizer: p for p in across.placed}
    led = []
    for number, (data, values) in enumerate(_by_set(found).items()):
        first, second = sorted(values, reverse=True)[:2]
        name = next((k for k in kinds if places[k].by_set[number] == first), None)
        if name is not None:
            led.append(f"{name} on {data} (by at most {at_most(first - second)} points)")
    text = "On none of these sets does it lead, with or without momentum."
    if led:
        text = f"It leads, as measured, with or without momentum: {join(led)}."
    counts = []
    for name in kinds:
        verdicts = places[name].verdicts
        good, out = verdicts.count(Verdict.GOOD_ENOUGH), verdicts.count(Verdict.EXCLUDED)
        rest = len(verdicts) - good - out
        counts.append(f"{name} is good enough on {good}, undecided on {rest}, excluded on {out}")
    return f"{text} Of the {len(across.sets)} sets {'; '.join(counts)}."


def _epoch(line: Effect) -> str:
    worse = "worse" if line.best == "last" else "better"
    return (
        "Taking the epoch that is best on one half of the validation images was, as measured on "
        "the other half, "
        f"{points(line.moves)} points {worse} than taking the last of 30 ({points(line.low)} to "
        f"{points(line.high)} on these sets{_perhaps(line.low)})."
    )


def _perhaps(low: float) -> str:
    return "" if low > 0 else ", so this may be chance"


def _budget(line: Effect) -> str:
    order = {level: place for place, level in enumerate(line.levels)}
    parts = sorted(line.gaps, key=lambda one: -order[one.level])
    texts = [f"{points(one.behind)} (at most {at_most(one.at_most)})" for one in parts]
    names = ["the whole" if one.level == "whole" else one.level for one in parts]
    return (
        f"Of a search of 20 trials {join(names)} end {join(texts)} points behind the best of these."
    )


def _levels(line: Effect) -> str:
    best, *others = line.gaps
    texts = [
        f"{one.level} {points(one.behind)} ({at_least(one.at_least)} to {at_most(one.at_most)})"
        for one in others
    ]
    sure = any(one.at_least > 0 for one in others)
    return (
        f"Best as measured is {best.level} (if another is better, then by at most "
        f"{at_most(best.at_most)} points). Points behind it: {join(texts)}."
        f"{'' if sure else ' None of these differences is certain.'} This is read from good trials "
        "of the searches, each a single run."
    )


def _start(found: Several) -> str:
    overall, best = found.starts.overall, found.starts.found[0]
    assert overall is not None
    more = "less" if overall.behind > 0 else "more"
    text = (
        "The best configuration of any optimizer on all sets but one reaches, on that one, "
        f"{percent(overall.value)} % on average, after the last epoch and in single runs; as "
        f"measured {points(abs(overall.behind))} points {more} than tuning the same optimizer on "
        f"the set itself. The choice is a configuration of {join(_counted(overall.optimizers))}"
    )
    if not math.isnan(best.low):
        text += (
            f". That of {best.optimizer} in the table below is, with 95 % confidence, from "
            f"{_ahead(best.low)} to {_ahead(best.high)} tuning on sets of this sort"
        )
    return f"{text}."


def _counted(names: Sequence[str]) -> list[str]:
    return [f"{name} for {counted(names.count(name), 'set')}" for name in dict.fromkeys(names)]


def _ahead(behind: float) -> str:
    return f"{points(abs(behind))} {'behind' if behind > 0 else 'ahead'}"


def _sets(studies: Sequence[Summary]) -> Iterator[str]:
    yield "## The data sets"
    rows, fallen = [], []
    for one in studies:
        what, source = SETS[one.meta.name]
        good = [judged.optimizer for judged in one.answer.of(Verdict.GOOD_ENOUGH)]
        names = "all 12" if len(good) == len(one.rows) else some(good, "optimizer")
        leader = next(row for row in one.rows if row.optimizer == one.answer.leader)
        fallen += [one.meta.name] if fails_the_test(one.meta, leader) else []
        rows.append(
            (
                f"{one.meta.name}: {what}",
                f"{sum(one.meta.class_counts):,}",
                str(len(one.meta.class_counts)),
                f"{one.meta.split_sizes['validation']:,}",
                f"{one.answer.leader}, {percent(leader.mean)}",
                percent(leader.test_value),
                names or "not known",
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
        f"{f', lower than chance explains on {join(fallen)}' if fallen else ''}. Minutes: of "
        "the search, on two cores of a shared machine, without the features."
    )
    yield from markdown_table(Table("", note, head, tuple(rows)))[1:]


def _went_on(studies: Mapping[str, Summary]) -> Iterator[str]:
    """Yield what became of studies that went on."""
    for name, one in studies.items():
        if name.endswith(FURTHER):
            good = [judged.optimizer for judged in one.answer.of(Verdict.GOOD_ENOUGH)]
            repeats = max(len(row.by_repeat) for row in one.rows)
            end = f"{some(good, 'optimizer') or 'none'} certainly good enough"
            yield (
                f"The report of {name.removesuffix(FURTHER)} advises to go on with `--repeats "
                f"auto`. That ended after {repeats} repeats, {len(one.records):,} runs and "
                f"{one.meta.seconds['search'] / 60:.0f} minutes of search: {end}."
            )


def _use_start(found: Several) -> Iterator[str]:
    if not found.starts.found:
        return
    best = found.starts.found[0].optimizer
    yield (
        "A configuration is judged as a whole: what is bad on average, such as a narrow layer, may "
        "be good in it. Where few of the choices are the same, or the interval is wide or missing, "
        "it is not to be relied on. `python -m study.compare` writes each as a search space, "
        f"`{best}.toml` and so on in the folder `start` beside its page, and a search with "
        f"`--space {best}.toml` trains it on your images."
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
        "The records are in [more.tar.xz](findings/more.tar.xz)."
    )
    yield f"**{found.headline}**"
    yield from found.details
    tables = (effects_table(found), levels_table(found), studies_table(found))
    yield from (re.sub(r"^## ", "### ", block) for block in _tables(*tables))


def _views(studies: Sequence[Summary]) -> Iterator[str]:
    if not studies:
        return
    yield "## Views and image size"
    yield (
        f"MobileNetV2 on {_names_of(studies)}, with `--space quick --optimizers adam`: 1, 4 or 8 "
        "views of each training image (itself, and crops, turned, mirrored, brighter or darker) "
        f"at 112, 168 or 224 pixels, with {join(list(map(str, EPOCHS)), 'or')} epochs a trial, "
        f"{len(studies)} studies of five repeats. Points behind the best level of the same choice "
        "after so many epochs, as measured and (at 95 %, as in the table of levels) at least to at "
        "most on these sets. The records are in [views.tar.xz](findings/views.tar.xz)."
    )
    rows = []
    for choice in CHOICES:
        lines = [line for _, line in _by_epochs(studies, choice)]
        for place, level in enumerate(lines[0].levels):
            each = [next(gap for gap in line.gaps if gap.level == level) for line in lines]
            rows.append(("" if place else choice, level, *map(_behind, each)))
    head = ("choice", "level", *(f"{epochs} epochs" for epochs in EPOCHS))
    yield markdown_table(Table("", "", head, tuple(rows)))[-1]
    line = next(e for e in several_studies(studies).effects if e.choice == "epochs of a trial")
    yield (
        f"Over all views and sizes {line.best} epochs are, as measured, {points(line.moves)} "
        f"points better than {line.worst} ({points(line.low)} to {points(line.high)})."
    )


def _names_of(studies: Sequence[Summary]) -> str:
    return join(list(dict.fromkeys(one.meta.name.split(VIEWED)[0] for one in studies)))


def _behind(gap: Gap) -> str:
    return f"{points(gap.behind)} ({at_least(max(gap.at_least, 0.0))} to {at_most(gap.at_most)})"


def _by_epochs(studies: Sequence[Summary], choice: str) -> Iterator[tuple[int, Effect]]:
    for epochs in EPOCHS:
        found = several_studies([s for s in studies if s.meta.settings["max_epochs"] == epochs])
        yield epochs, next(one for one in found.effects if one.choice == choice)


def _views_in_short(studies: Sequence[Summary]) -> str:
    texts = [
        f"{line.best} {points(line.moves)} points better than {line.worst} at {epochs} epochs "
        f"({points(line.low)} to {points(line.high)})"
        for choice in CHOICES
        for epochs, line in _by_epochs(studies, choice)
    ]
    return f"On {_names_of(studies)}, with MobileNetV2 and Adam, as measured: {join(texts)}."


def _again(studies: Mapping[str, Summary]) -> Iterator[str]:
    again = [name for name in studies if name.endswith(REPEATED)]
    if not again:
        return
    yield "## The same under another seed"
    for name in again:
        first, second = studies[name.removesuffix(REPEATED)], studies[name]
        (pair,) = several_studies([first, second]).pairs
        yield f"{first.meta.name}: {pair.headline}"


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
        "bounds in general are wide, and nothing is known of sets of another sort. Several tables "
        "bound the same difference; their bounds differ because each holds together with other "
        "statements."
    )
    machines = sorted({str(one.meta.device["name"]) for one in studies.values()})
    versions = {f"Keras {one.meta.versions[-1]['keras']}" for one in studies.values()}
    yield (
        f"Two cores of {join(machines)}, shared, without a GPU; {join(sorted(versions))}. VGG16 "
        "takes 7 to 11 images a second there; a study needed at most 1.7 GB of memory."
    )


def _figure(name: str, found: Several) -> str:
    pictures, _ = draw_studies(found)
    picture = next(one for one in pictures if one.name == name)
    return f"![{picture.title}](findings/{name}.png)\n\n*{picture.caption}*"


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
    pictures, _ = draw_studies(main)
    for picture in pictures:
        (FOLDER / f"{picture.name}.png").write_bytes(picture.png)
    PAGE.write_text(page_of(studies), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(
        BLOCK.sub(lambda m: f"{m[1]}{readme_of(main)}\n{m[3]}", text), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
