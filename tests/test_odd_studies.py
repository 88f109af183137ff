"""Studies that went oddly: what a report says of them is true and does not contradict itself."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from synthetic import LOW_HIGH, OPTIMIZERS, SETTINGS, make_meta, make_records

from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.summary import Summary, summarize
from study.report.markdown import markdown
from study.report.tables import ranking_table
from study.verdicts.looks import planned_looks

Records = list[TrialRecord]
CLASSES = [f"s{number}" for number in range(40)]
BOTH = ["adam", "sgd"]


def records(names: list[str] = BOTH, **more: Any) -> Records:
    return make_records(names, **({"repeats": 5, "trials": 4, "confirm": 2} | more))


def only(found: Records, *phases: Phase) -> Records:
    return [record for record in found if record.phase in phases]


def diverged(record: TrialRecord, where: bool = True) -> TrialRecord:
    lost = [math.nan] * len(record.loss)
    bad = dataclasses.replace(record, status=TrialStatus.DIVERGED, loss=lost, val_loss=lost)
    return bad if where else record


def changed(record: TrialRecord, **more: Any) -> TrialRecord:
    return dataclasses.replace(record, **more) if record.phase is Phase.CONFIRM else record


def fixed(repeats: int, **settings: Any) -> dict[str, Any]:
    looks = list(planned_looks(repeats, 27))
    return {"looks": looks, "settings": {"repeats": repeats, **settings}}


def meta_of(names: list[str], about: dict[str, Any]) -> StudyMeta:
    settings = SETTINGS | {"max_epochs": 27, "confirm": 2} | about.get("settings", {})
    return make_meta(names, CLASSES, **(about | {"settings": settings}))


def not_searched(name: str) -> Records:
    """All trials of one optimizer diverged, so that it was not confirmed."""
    found = [diverged(r, r.optimizer == name) for r in records()]
    return [r for r in found if r.optimizer != name or r.phase in (Phase.DEFAULT, Phase.SEARCH)]


def best_beside_those_that_diverge() -> Records:
    """Winners at the upper end of the learning rate, where half of the trials diverged."""
    top = 10 ** (OPTIMIZERS["adam"][1] + LOW_HIGH[1])
    highest = [
        dataclasses.replace(r, hyperparameters={**r.hyperparameters, "learning_rate": top})
        for r in records()
    ]
    return [diverged(r, r.phase is Phase.SEARCH and r.number < "0002") for r in highest]


SEARCHED = (Phase.DEFAULT, Phase.SEARCH)
LIMIT = {"partial": "the time limit of 0.02 min was reached"}
ODD: dict[str, Callable[[], tuple[Records, dict[str, Any]]]] = {
    "untuned only": lambda: (only(records(repeats=1), Phase.DEFAULT), LIMIT),
    "one trial": lambda: (only(records(repeats=1), Phase.SEARCH)[:1], {"finished": False}),
    "not confirmed": lambda: (only(records(repeats=1), *SEARCHED), {"finished": False}),
    "all diverged": lambda: ([diverged(r) for r in only(records(), *SEARCHED)], {}),
    "defaults left": lambda: (
        [diverged(r, r.phase is Phase.SEARCH) for r in only(records(), *SEARCHED)],
        {},
    ),
    "winners at the edge": lambda: (best_beside_those_that_diverge(), {}),
    "one left": lambda: (not_searched("sgd"), {}),
    "one left of one repeat": lambda: ([r for r in not_searched("sgd") if not r.repeat], fixed(1)),
    "reruns diverged": lambda: ([diverged(r, r.phase is Phase.CONFIRM) for r in records()], {}),
    "some reruns diverged": lambda: ([diverged(r, r.confirm == 0) for r in records()], {}),
    "one optimizer": lambda: (records(["adam"]), {}),
    "one repeat": lambda: (records(repeats=1), fixed(1)),
    "one rerun": lambda: (records(repeats=1, confirm=1), fixed(1, confirm=1)),
    "one rerun of one trial": lambda: (
        [
            changed(r, val_accuracy=[0.1] * r.epochs, best_epoch=1)
            for r in records(repeats=1, confirm=1)
            if r.phase is not Phase.SEARCH or r.number == "0000"
        ],
        fixed(1, confirm=1),
    ),
    "one epoch": lambda: (records(max_epochs=1), {"settings": {"max_epochs": 1}}),
    "all equal": lambda: (
        [changed(r, val_accuracy=[0.9] * r.epochs, best_epoch=1) for r in records()],
        {},
    ),
    "spread out": lambda: (records(spread=0.1, seed=4), LIMIT),
    "few images": lambda: (records(), {"split_sizes": {"train": 2, "validation": 2, "test": 2}}),
    "absurd loss": lambda: ([changed(r, val_loss=[2.5e5] * r.epochs) for r in records()], {}),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest) -> Summary:
    found, about = ODD[request.param]()
    names = [name for name in BOTH if any(record.optimizer == name for record in found)]
    names = names if request.param == "one optimizer" else BOTH
    return summarize(meta_of(names, about), found)


def text_of(summary: Summary) -> str:
    return markdown(summary, [], [caution.text for caution in summary.cautions])


def test_no_verdict_where_nothing_is_said(odd: Summary) -> None:
    verdicts = {row[1] for row in ranking_table(odd).rows}
    if not odd.answer.looked:
        assert verdicts <= {"no verdict", "not confirmed"}
        assert not odd.answer.known and not odd.headline.text.startswith("Use")
    if odd.headline.text.startswith(("Use", "On these images")):
        assert "good enough" in verdicts
    assert len({step.what for step in odd.headline.next}) == len(odd.headline.next) > 0


def test_what_more_repeats_would_do_is_more_than_there_is(odd: Summary) -> None:
    text = text_of(odd)
    repeats = max((one.repeats for one in odd.answer.optimizers), default=0)
    for number in map(int, re.findall(r"about (\d+) repeats would", text)):
        assert number > repeats
    if "at least 5 are needed" in text:
        assert repeats < 5
    if "has not been compared with every contender" in text:
        assert repeats < odd.meta.looks[0].repeats


def test_yet_is_said_only_of_what_may_still_come(odd: Summary) -> None:
    resumable = not odd.meta.finished or odd.meta.partial
    if not resumable:
        assert "confirmed yet" not in text_of(odd)
    assert ("nothing to confirm" in odd.headline.text) <= (not resumable)


def test_advice_on_the_learning_rate_has_one_direction(odd: Summary) -> None:
    for caution in odd.cautions:
        if caution.kind == "edge of range" and "the best learning_rate" in caution.text:
            name = caution.text.partition(":")[0]
            lower = [c.text for c in odd.cautions if "lower the upper end" in c.text]
            assert "raise it" not in caution.text or name not in " ".join(lower)


def test_a_section_has_something_in_it_and_numbers_their_nouns(odd: Summary) -> None:
    text = text_of(odd)
    for part in text.split("\n## ")[1:]:
        assert part.partition("\n")[2].strip(), part
    assert not re.search(r"\b1 (repeats|trials|reruns|images|minutes)\b", text)
    assert "nan" not in text.casefold().replace("nanm", "")
    confirmed = any(record.phase is Phase.CONFIRM for record in odd.records)
    assert confirmed or not re.search("## (The winner as|Typical hyperparameters)", text)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("untuned only", "Only default runs have a result; the highest is "),
        ("one trial", r"The highest value so far is [\d.]+ % \(adam\)\.$"),
        ("not confirmed", "picked from 8 trials and therefore too high"),
        ("all diverged", "all 40 trials diverged, so there was nothing to confirm"),
        ("defaults left", "all 40 trials diverged, so there was nothing to confirm"),
        ("one left", "no other optimizer has a confirmed result, so there is nothing to compare"),
        ("few images", "its bound says only that no optimizer exceeds 100 %"),
    ],
)
def test_the_first_sentence_says_what_happened(case: str, said: str) -> None:
    found, about = ODD[case]()
    text = summarize(meta_of(BOTH, about), found).headline.text
    assert re.search(said, text), text


@pytest.mark.parametrize(
    ("case", "kind", "said"),
    [
        ("one left", "unconfirmed", "Not confirmed, so not ranked: sgd (all 20 trials diverged)."),
        ("one rerun", "one repeat", "there are no intervals"),
        ("one repeat", "one repeat", "the spread of confirmation runs, not that of searches."),
        ("spread out", "tuning lost", " % tuned): the search was cut short."),
        ("one rerun of one trial", "tuning lost", "a search of one trial tunes nothing."),
        ("absurd loss", "absurd loss", "(250,000) is absurd; guessing gives 3.69."),
    ],
)
def test_the_cautions_say_what_happened(case: str, kind: str, said: str) -> None:
    found, about = ODD[case]()
    summary = summarize(meta_of(BOTH, about), found)
    (text,) = [caution.text for caution in summary.cautions if caution.kind == kind]
    assert said in text


def with_head(**head: Any) -> StudyMeta:
    meta = make_meta(BOTH, CLASSES)
    return dataclasses.replace(meta, space={**meta.space, "table": {"head": head}})


@pytest.mark.parametrize(
    ("head", "warned"),
    [
        ({"batch_size": 1}, True),
        ({"batch_size": {"choices": [1, 16]}, "batch_norm": {"choices": [True, False]}}, True),
        ({"batch_size": {"min": 1, "max": 9}}, True),
        ({"batch_size": 1, "batch_norm": False}, False),
        ({"batch_size": {"min": 2, "max": 9}}, False),
    ],
)
def test_batches_of_one_row_are_not_normalized_without_a_word(head: Any, warned: bool) -> None:
    summary = summarize(with_head(**head), records(repeats=1))
    texts = [caution.text for caution in summary.cautions if caution.kind == "single rows"]
    assert len(texts) == warned
