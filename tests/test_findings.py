"""`docs/findings.md` is what the published records say.

Page and figures are written from `docs/findings/records.tar.xz` by

    python -m tests.test_findings

and other studies are added to the records by `--pack` of `study.compare`.
"""

import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import pytest

from study.common.text import at_least, at_most, counted, join, points, points_signed
from study.compare.archive import unpack
from study.compare.effects import Effect
from study.compare.figures import draw_studies
from study.compare.gaps import Gap
from study.compare.page import (
    across_table,
    effects_table,
    levels_table,
    start_table,
    studies_table,
    untuned_table,
)
from study.compare.several import Several, several_studies
from study.compare.untuned import TuningGain
from study.report.analysis.summary import Summary, load_study
from study.report.markdown import markdown_table
from study.report.tables import Table, percent
from study.verdicts.answer import Verdict

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- findings:.*?-->\n)(.*?)(<!-- end -->)", re.DOTALL)
DOCS = README.parent / "docs"
PAGE, FOLDER = DOCS / "findings.md", DOCS / "findings"
RECORDS = FOLDER / "records.tar.xz"
MOST_BYTES = 3_000_000
REPEATED = "-again"  # ends the names of studies under another seed
QUICK = "-quick"  # is part of the names of studies of several bases

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
    return {one.name: load_study(one) for one in unpack(RECORDS, folder)}


def chosen(studies: Mapping[str, Summary]) -> list[Summary]:
    """Return the studies of the main question: twelve optimizers on VGG16."""
    return [studies[name] for name in SETS if name in studies]


def of_bases(studies: Mapping[str, Summary]) -> list[Summary]:
    """Return the studies of several bases, by data set."""
    names = [name for known in SETS for name in studies if name.startswith(known + QUICK)]
    return [studies[name] for name in names]


# ---- the page ----


def page_of(studies: Mapping[str, Summary]) -> str:
    """Return the whole page."""
    main = several_studies(chosen(studies))
    blocks = [*_answer(main, studies), *_in_short(main), *_sets(chosen(studies))]
    blocks += ["## What the wrong choice costs", _figure("levels", main)]
    blocks += _tables(levels_table(main), effects_table(main), across_table(main))
    blocks += _tables(untuned_table(main), start_table(main))
    blocks += [*_use_start(main), *_bases(of_bases(studies)), *_again(studies), *_closing(studies)]
    return "\n\n".join(blocks) + "\n"


def _answer(found: Several, studies: Mapping[str, Summary]) -> Iterator[str]:
    assert found.across is not None
    images = [sum(one.meta.class_counts) for one in chosen(studies)]
    yield "# Which optimizer is best on a frozen base, in general?"
    yield f"**{found.headline}**"
    yield _figure("across", found)
    yield (
        f"{len(images)} public sets of {min(images):,} to {max(images):,} images, each a study of "
        f"its own: VGG16 with ImageNet weights, frozen, images of 224 pixels, the search space "
        "`default`. In each study every one of 12 optimizers was tuned by random search, 20 "
        "configurations of 30 epochs in each of five repeats, and the five winners were trained "
        "again with five splits and seeds each that no search had seen. *On these data sets* is "
        "about these collections; *in general* is about data sets of which these are a sample, "
        "where each set counts as one observation, and that bound is wider. Points are points of "
        "validation accuracy."
    )
    yield (
        "This page is written from the [records](findings/records.tar.xz) of the studies by "
        "`python -m tests.test_findings`, and a test compares the two."
    )


def _in_short(found: Several) -> Iterator[str]:
    across = found.across
    assert across is not None
    yield "## In short"
    effects = {one.choice: one for one in found.effects}
    lines = [
        f"**Which optimizer.** {_optimizers(found)}",
        f"**How much tuning gains.** {_tuning(found)}",
        f"**Adam as Keras has it.** {_adam(found)}",
        f"**Without tuning.** {_untuned(across.untuned.gaps)}",
        f"**Where SGD wins.** {_sgd(found)}",
        f"**How many trials.** {_budget(effects['search budget'])}",
        f"**When to stop.** {_epoch(effects['epoch'])}",
        f"**Schedule.** {_levels(effects['schedule'])}",
        f"**Width.** {_levels(effects['dense width'])}",
    ]
    if found.starts.found:
        lines.append(f"**A setting to start from.** {_start(found)}")
    yield "\n".join(f"- {line}" for line in lines)


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
        f"So say {len(found.across.sets)} studies of public sets on a frozen VGG16. "
        "[docs/findings.md](docs/findings.md) has the bounds, other bases, a setting to start "
        "from, and the records, to which you can add yours."
    )
    return "\n".join([*(f"> {line}" for line in wrapped), "", *wrap(end, 99)])


def _between(low: float, high: float) -> str:
    return f"{points_signed(low)} to {points_signed(high)}"


def _optimizers(found: Several) -> str:
    assert found.across is not None
    line = next(one for one in found.effects if one.choice == "optimizer")
    placed = found.across.placed
    good = [one.optimizer for one in placed if one.general is Verdict.GOOD_ENOUGH]
    near = sum(one.behind <= 0.01 for one in placed) - 1
    text = (
        f"As measured {placed[0].optimizer} leads, and {near} of the {len(placed) - 1} others are "
        f"within one point of it; from the worst, {line.worst}, to the best it is "
        f"{points(line.moves)} points ({points(line.low)} to {points(line.high)} on these sets)."
    )
    if good:
        text += f" Good enough in general: {join(good)}."
    return text


def _tuning(found: Several) -> str:
    assert found.across is not None
    gains = found.across.untuned.gains
    sure = [f"{one.optimizer} ({points_signed(one.gain)})" for one in gains if one.low > 0]
    middle = sorted(one.gain for one in gains)
    median = (middle[(len(gains) - 1) // 2] + middle[len(gains) // 2]) / 2
    least = min(gains, key=lambda one: one.gain)
    return (
        "Tuning certainly gains over Keras's default settings on these sets for "
        f"{join(sure) if sure else 'no optimizer'}, in points; for half of the {len(gains)} it "
        f"gains at most {points(median)}, least for {least.optimizer} "
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
    best = gaps[0].level
    return (
        f"Its default settings are {points(one.behind)} points behind {best} "
        f"(at most {at_most(one.at_most)} behind the best of this list on these sets"
        f"{_general(one)})."
    )


def _general(one: Gap) -> str:
    if math.isnan(one.general_at_most):
        return ""
    return f", {at_most(one.general_at_most)} in general"


def _untuned(gaps: Sequence[Gap]) -> str:
    names = [one for one in gaps if not one.level.endswith("tuned")]
    safest = min(names, key=lambda one: one.at_most)
    behind = [one.level for one in gaps if one.at_least > 0]
    return (
        f"The safest default settings are those of {safest.level}: at most "
        f"{at_most(safest.at_most)} points behind the best on these sets{_general(safest)}, the "
        f"best tuned optimizer included. Certainly behind on these sets: "
        f"{join(behind) if behind else 'none'}."
    )


def _sgd(found: Several) -> str:
    across = found.across
    assert across is not None
    kinds = ("sgd", "momentum", "nesterov")
    leads = {name: [] for name in kinds}
    for number, data in enumerate(across.sets):
        best = max(across.placed, key=lambda one: one.by_set[number])
        if best.optimizer in kinds:
            leads[best.optimizer].append(data)
    texts = [f"{name} on {join(where)}" for name, where in leads.items() if where]
    led = (
        f"As measured, the best of all 12 is {join(texts)}."
        if texts
        else ("On none of these sets has SGD, with or without momentum, the highest mean.")
    )
    counts = []
    for name in kinds:
        one = next(placed for placed in across.placed if placed.optimizer == name)
        good = sum(verdict is Verdict.GOOD_ENOUGH for verdict in one.verdicts)
        out = sum(verdict is Verdict.EXCLUDED for verdict in one.verdicts)
        counts.append(f"{name} is good enough on {good} and excluded on {out}")
    return f"{led} Of the {len(across.sets)} sets {join(counts)}."


def _epoch(line: Effect) -> str:
    more = next(one for one in line.gaps if one.level != "last").behind
    return (
        "The epoch that is best on some validation images is, judged on others, "
        f"{'worse' if more > 0 else 'better'} than the last of the 30: by {points(line.moves)} "
        f"points ({points(line.low)} to {points(line.high)} on these sets)."
    )


def _budget(line: Effect) -> str:
    order = {level: place for place, level in enumerate(line.levels)}
    parts = sorted(line.gaps, key=lambda one: -order[one.level])
    texts = [f"{one.level} {points(one.behind)} (at most {at_most(one.at_most)})" for one in parts]
    return (
        f"What parts of a search of 20 trials had found, trained again, is so many points behind "
        f"the best of them: {join(texts)}."
    )


def _levels(line: Effect) -> str:
    best, *others = line.gaps
    texts = [
        f"{one.level} {points(one.behind)} ({at_least(one.at_least)} to {at_most(one.at_most)})"
        for one in others
    ]
    return (
        f"Best as measured: {best.level} (at most {at_most(best.at_most)} points behind the best). "
        f"Behind it: {join(texts)}."
    )


def _start(found: Several) -> str:
    best = found.starts.found[0]
    more = "less" if best.behind > 0 else "more"
    text = (
        f"Without any search, one setting of {best.optimizer} reaches {percent(best.value)} % on "
        "average on sets that had no part in choosing it: "
        f"{points(abs(best.behind))} points {more} than tuning the same optimizer on the set itself"
    )
    if not math.isnan(best.low):
        text += f" (behind by {_between(best.low, best.high)} on sets of this sort)"
    return (
        f"{text}. Its configuration was tried on all sets; the table below has one for each "
        "optimizer."
    )


def _sets(studies: Sequence[Summary]) -> Iterator[str]:
    yield "## The data sets"
    rows = []
    for one in studies:
        what, source = SETS[one.meta.name]
        good = [judged.optimizer for judged in one.answer.of(Verdict.GOOD_ENOUGH)]
        value = next(row.mean for row in one.rows if row.optimizer == one.answer.leader)
        rows.append(
            (
                f"{one.meta.name}: {what}",
                f"{sum(one.meta.class_counts):,}",
                str(len(one.meta.class_counts)),
                f"{one.answer.leader}, {percent(value)}",
                join(good) or "not known",
                f"{one.meta.seconds['search'] / 60:.0f}",
                source,
            )
        )
    head = ("set", "images", "classes", "leader, %", "good enough", "minutes", "from")
    note = (
        "Each study by its own verdicts on its own images, after five repeats, at a margin of 2 "
        "points. Minutes: of the search on two cores of a shared machine, without the features."
    )
    yield from markdown_table(Table("", note, head, tuple(rows)))[1:]


def _use_start(found: Several) -> Iterator[str]:
    if not found.starts.found:
        return
    yield (
        "`python -m study.compare` writes each of them as a search space, `adam.toml` and so on in "
        "the folder `start` beside its page, and a search with `--space adam.toml` trains it on "
        "your images."
    )


def _bases(studies: Sequence[Summary]) -> Iterator[str]:
    if not studies:
        return
    found = several_studies(studies)
    yield "## Other bases"
    sets = len({one.meta.data["fingerprint"] for one in studies})
    yield (
        f"VGG16, MobileNetV2 and EfficientNet-Lite0 on {counted(sets, 'data set')}, each with "
        "`--space quick` (only the learning rate is tuned, 8 trials), sgd, adam, rmsprop, nadam."
    )
    yield f"**{found.headline}**"
    yield from found.details
    yield from _tables(effects_table(found), levels_table(found), studies_table(found))


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
        "The comparison is then over these sets and yours. `--pack FILE.tar.xz` writes the records "
        "of all studies of a comparison, without pictures, predictions and paths."
    )
    yield "## What this does not say"
    yield (
        "It is about small dense heads on one frozen base (other bases: as far as they are above), "
        "collections of some hundreds to some thousands of images, batches of 16, 30 epochs, and "
        "validation images like the training images. It says nothing about training whole "
        "networks. So many sets are few: bounds in general are wide, and sets of another sort are "
        "not covered. "
        "Values of searches are of single runs; what a schedule or a width is worth is read from "
        "good trials, not from runs made for that question."
    )
    machines = sorted({str(one.meta.device["name"]) for one in studies.values()})
    yield f"Machine: two cores of {join(machines)}, shared, without a GPU."


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
    if not RECORDS.is_file():
        pytest.skip("no records are published")
    return studies_of(tmp_path_factory.mktemp("findings"))


def test_the_page_says_what_the_records_say(studies: dict[str, Summary]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page_of(studies)


def test_the_readme_begins_with_the_findings(studies: dict[str, Summary]) -> None:
    found = BLOCK.search(README.read_text(encoding="utf-8"))
    assert found and found[2].strip() == readme_of(several_studies(chosen(studies)))


def test_the_records_are_small_and_name_no_place(studies: dict[str, Summary]) -> None:
    assert RECORDS.stat().st_size <= MOST_BYTES
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
