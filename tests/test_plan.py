"""The plan counts what will be trained; the watch counts what has been."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from simulated import draw, equal, looks_of
from synthetic import make_meta, make_record, write_study

from study.common.text import at_most, join
from study.data.splits.one_split import Split
from study.machines.here import Here
from study.records.study_meta import Look
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.records.trials_file import rewrite_trials
from study.search import live_progress as watch_module
from study.search.command_line import parse, resolve_options
from study.search.expected_time import Expected, epoch_cost, slowness
from study.search.live_progress import Watch, round_line
from study.search.options import Options
from study.search.plan import (
    Plan,
    PlannedSearch,
    make_plan,
    model_summary,
    optimizers_line,
    plan_lines,
    question_lines,
    signatures_of,
)
from study.search.protocol import Round
from study.search.studies import open_subject
from study.space.search_space import SearchSpace, load_space
from study.training.program_key import few_widths
from study.verdicts.answer import Answer
from study.verdicts.judge import judge

SPLIT = Split(*(np.arange(size, dtype=np.int32) for size in (120, 160, 120)))  # the faces'


def options(*argv: str) -> Options:
    return resolve_options(parse(argv), {}, "default")


def test_the_default_study_is_counted_exactly():
    plan = make_plan(options("--confirm", "5"), load_space("default"))
    assert len(plan.searches) == 12 and plan.looks == (5, 8, 12, 18, 27) and plan.first == 5
    assert {(s.kind, s.trials, s.epochs) for s in plan.searches} == {("hyperband", 90, 576)}
    first = plan.equal_repeats(5)
    assert plan.trials(first) == dict.fromkeys(plan.optimizers, 5 * 90)
    assert plan.epochs(first) == 12 * 5 * (576 + 30 * (5 + 1 + 3))
    later = {"adam": 8, "sgd": 5}  # the early reruns are the first look's only
    assert plan.epochs(later) == 13 * (576 + 30 * 6) + 10 * 30 * 3


def test_a_fixed_study_is_all_counted_at_once():
    plan = make_plan(options("--repeats", "7"), load_space("default"))
    assert plan.looks == (7,) and plan.first == 7 and not plan.race


def widths_of(space: SearchSpace) -> tuple[int, ...]:
    return few_widths(space.dense_widths())


def planned(space: SearchSpace, *argv: str) -> str:
    given = options(*argv)
    return "\n".join(plan_lines(make_plan(given, space), given, space, SPLIT, widths_of(space)))


def test_a_hyperband_of_too_few_epochs_says_that_it_stops_nothing_early():
    space = load_space("quick").restrict(["adam"])
    one = planned(space, "--max-epochs", "1")
    assert "1 hyperband search of 1 trial (1 epoch) each" in one
    assert "hyperband cannot stop trials early within 1 epoch: use --max-epochs 3 or more" in one
    assert "cannot stop trials early within 3 epochs" in planned(
        space, "--max-epochs", "3", "--factor", "4"
    )
    assert "cannot stop trials early" not in planned(space, "--max-epochs", "3")
    assert "cannot stop trials early" not in planned(
        space, "--max-epochs", "1", "--tuner", "random"
    )


def test_batches_of_one_row_with_batch_normalization_are_warned_of(tmp_path: Path):
    optimizer = '[optimizers.adam]\nclass = "Adam"\n'
    (tmp_path / "one.toml").write_text(f"[head]\nbatch_size = 1\n{optimizer}")
    assert "warning: the search space has batch_size 1" in planned(
        load_space(f"{tmp_path}/one.toml")
    )
    assert "warning" not in planned(load_space("default"))


def test_a_joint_search_is_one():
    plan = make_plan(options("--allocation", "joint"), load_space("default"))
    assert [search.name for search in plan.searches] == ["joint"]
    one = load_space("default").restrict(["adam"])
    plan = make_plan(options("--allocation", "joint"), one)
    assert [search.name for search in plan.searches] == ["adam"]


def test_the_posts_study_is_three_runs_and_three_confirmations():
    space = load_space("blog_t11")
    found = resolve_options(parse(["--tuner", "grid", "--data", "x"]), space.study, space.name)
    plan = make_plan(found, space)
    assert [(search.kind, search.trials) for search in plan.searches] == [("grid", 1)] * 3
    assert (plan.confirm, plan.tunable, plan.first) == (1, 0, 1)
    assert sum(plan.trials(plan.equal_repeats(1)).values()) == 3


def test_the_plan_says_what_was_cut(tmp_path: Path):
    path = tmp_path / "small.toml"
    path.write_text(
        '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.1, 0.2, 0.3]}\n'
        '[optimizers.adam]\nclass = "Adam"\nlearning_rate = {min = 1e-4, max = 0.1}\n'
        "epsilon = {min = 1e-8, max = 1, scale = 'linear'}\nweight_decay = {min = 0.1, max = 9}\n"
    )
    space = load_space(str(path))
    lines = "\n".join(
        plan_lines(make_plan(options(), space), options(), space, SPLIT, widths_of(space))
    )
    assert "sgd has too few configurations for hyperband: a grid search of 3 instead" in lines
    assert "adam has too few" not in lines
    said = "warning: without `scale` nearly all values of optimizers.adam.learning_rate (0.0001 to "
    assert f"{said}0.1) are drawn from the uppermost decade: add scale" in lines
    assert "uppermost" not in planned(space.restrict(["sgd"]))
    assert "3 trials (90 epochs) or 62 trials (90 runs, 576 epochs) each" in lines


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "a repeat has 12 hyperband searches of 62 trials (90 runs, 576 epochs) each,"),
        (("--confirm", "1"), "1 confirmation run and 3 budget runs per winner and 12 default runs"),
        (("--tuner", "random", "--trials", "7"), "12 random searches of 7 trials (210 epochs)"),
    ],
)
def test_the_plan_reads_as_a_sentence(argv: tuple[str, ...], words: str):
    space = load_space("default")
    first = plan_lines(
        make_plan(options(*argv), space),
        options(*argv),
        space,
        SPLIT,
        widths_of(space),
    )[1]
    assert words in first and first.startswith("plan: ")


def test_the_plan_says_how_many_programs_are_compiled():
    space = load_space("quick")
    lines = plan_lines(make_plan(options(), space), options(), space, SPLIT, widths_of(space))
    programs = len(signatures_of(space, SPLIT, widths_of(space)))
    assert f"plan: at most {programs} programs to compile" in lines
    assert 1 <= programs <= 12
    assert len(signatures_of(space.restrict(["adam"]), SPLIT, widths_of(space))) == 1


def test_the_plan_names_the_optimizers_and_the_minutes():
    space = load_space("default")
    plan = make_plan(options(), space)
    expected = Expected(programs=24, compiling=48.0, epoch=0.004)
    lines = plan_lines(plan, options(), space, SPLIT, widths_of(space), expected)
    assert lines[0] == f"plan: 12 optimizers: {join(list(space.optimizers))}"
    programs = len(signatures_of(space, SPLIT, widths_of(space)))
    assert f"plan: at most {programs} programs to compile, 50 s in all" in lines
    words = "about 4 min until the first look, at most 17 min in all, on this machine"
    assert lines[-1] == f"plan: training takes {words}"  # 50,760 and 250,344 epochs
    fixed = plan_lines(
        *(make_plan(options("--repeats", "5"), space), options(), space, SPLIT, widths_of(space)),
        expected,
    )
    assert fixed[-1] == "plan: training takes about 4 min on this machine"
    many = plan._replace(optimizers=tuple(f"o{number}" for number in range(200)))
    assert optimizers_line(many).endswith("o18, o19 and 180 more")


def test_an_earlier_study_says_how_fast_this_machine_is(tmp_path: Path):
    device = {"kind": "cpu", "name": "some processor"}
    timed = slowness(tmp_path, device)
    assert timed and 0.05 < timed < 50
    assert slowness(tmp_path, device | {"kind": "gpu"}) is None
    for seconds, created in ((9.9, "2026-01-01"), (0.3, "2026-01-02")):
        runs = [record("adam", 0, 0.5)]
        meta = {"name": created, "created": created, "device": device | {"widths": [256]}}
        study = write_study(tmp_path, ["adam"], meta=meta, repeats=1, trials=9)
        rewrite_trials(study, [replace(one, seconds=seconds) for one in runs])
        (tmp_path / "damaged").mkdir(exist_ok=True)
        (tmp_path / "damaged" / "study.json").write_text("{")
    batch, width = runs[0].hyperparameters["batch_size"], runs[0].hyperparameters["dense_width"]
    assert (batch, width) == (16, 170)
    cost = 3 * epoch_cost(120, 16, 256 * (512 + 40))
    assert slowness(tmp_path, device) == pytest.approx((os.cpu_count() or 1) * 0.3 / cost)
    assert slowness(tmp_path, device | {"name": "another"}) != slowness(tmp_path, device)


def test_the_plan_says_what_the_first_look_and_the_longest_study_cost():
    space = load_space("default")
    plan = make_plan(options(), space)
    lines = "\n".join(plan_lines(plan, options(), space, SPLIT, widths_of(space)))
    first, most = (plan.epochs(plan.equal_repeats(n)) for n in (5, 27))
    assert f"first planned look (interim analysis) after 5 repeats, {first:,} epochs" in lines
    assert f"looks at 8, 12, 18, 27: at most {most:,} epochs in all" in lines
    assert "at most 2 points behind the best is good enough (--margin)" in lines
    fixed = options("--repeats", "1", "--margin", "1")
    lines = "\n".join(plan_lines(make_plan(fixed, space), fixed, space, SPLIT, widths_of(space)))
    assert "1 repeat, then one look at the results;" in lines and "at most 1 point behind" in lines


@pytest.mark.parametrize("name", ["default", "blog_t11"])
def test_the_model_summary_shows_the_parameters(name: str, picture_folder: Path):
    space: SearchSpace = load_space(name)
    given = options("--data", str(picture_folder), "--image-size", "32", "--weights", "random")
    text = model_summary(space, open_subject(given, Here(None)), SPLIT, max_epochs=3)
    assert "Total params: 14,803,091" in text
    assert "Trainable params: 88,063" in text
    assert "batch_norm" in text


# ---- progress ----


@pytest.fixture
def screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[str]]:
    """What a watch printed where there is no terminal: one line for every batch of records."""
    monkeypatch.setattr(watch_module, "LINE_SECONDS", 0.0)
    return lambda: capsys.readouterr().err.splitlines()


def record(name: str, number: int, accuracy: float, **changes):
    made = make_record(
        np.random.default_rng(number), name, Phase.SEARCH, epochs=3,
        trial_id=f"{name}/0/search/{number:04}", search=name,
    )  # fmt: skip
    return replace(made, val_accuracy=[accuracy] * 3, best_epoch=1, **changes)


def watch(
    names: Sequence[str],
    trials: int,
    known: Iterable[TrialRecord] = (),
    answer: Answer | None = None,
) -> Watch:
    """A watch at the beginning of the only round: a repeat of so many trials of three epochs."""
    searches = tuple(PlannedSearch(name, "random", trials, 3 * trials) for name in names)
    plan = Plan(searches, tuple(names), 0, (1,), False, 0, 0, 3)
    made = Watch(plan, known)
    made.begin(Round({}, dict.fromkeys(names, 1), answer, [Look(1, 0.05)]))
    return made


def test_a_watch_counts_trials_and_names_the_best(screen: Callable[[], list[str]]):
    with watch(["adam", "sgd"], 2) as shown:
        shown.add([record("adam", 0, 0.5), record("sgd", 0, 0.7)])
        shown.add([record("adam", 1, 0.9)])
    lines = screen()
    assert lines[1].startswith("search: 1 repeat, 2/4 search runs, best so far sgd 0.700, ")
    assert lines[2].startswith("search: 1 repeat, 3/4 search runs, best so far adam 0.900, ")
    assert all(line.endswith(" left") for line in lines[1:])


def test_a_resumed_watch_counts_what_is_known(screen: Callable[[], list[str]]):
    with watch(["adam"], 4, [record("adam", 0, 0.5), record("adam", 1, 0.6)]) as shown:
        shown.add([record("adam", 2, 0.4), record("adam", 3, 0.4)])
    assert "4/4 search runs, best so far adam 0.600, 0 s left" in screen()[-1]


def test_runs_without_an_accuracy_are_never_the_best(screen: Callable[[], list[str]]):
    bad = record("sgd", 1, math.nan, status=TrialStatus.DIVERGED)
    with watch(["sgd"], 3) as shown:
        shown.add([bad])
        shown.add([record("sgd", 2, 0.3)])
        shown.add([replace(bad, trial_id="sgd/0/search/0009")])
    lines = screen()
    assert "best" not in lines[1]
    assert "3/3 search runs, best so far sgd 0.300, " in lines[-1]


def test_confirmations_count_as_work_but_not_as_trials(screen: Callable[[], list[str]]):
    done = replace(record("adam", 0, 0.5), phase=Phase.CONFIRM, trial_id="adam/0/confirm/1-0")
    with watch(["adam"], 1) as shown:
        shown.add([done])
    assert "0/1 search runs, " in screen()[-1]


def test_the_time_left_counts_programs_apart_from_training(screen: Callable[[], list[str]]):
    """While programs compile little is trained: that is no rate."""
    made = [0]
    expected = Expected(programs=4, compiling=40.0, epoch=10.0)
    plan = Plan((PlannedSearch("adam", "random", 2, 6),), ("adam",), 0, (1,), False, 0, 0, 3)
    with Watch(plan, [], left=partial(expected.left, lambda: made[0])) as shown:
        shown.begin(Round({}, {"adam": 1}, None, [Look(1, 0.05)]))
        made[0] = 3
        shown.add([replace(record("adam", 0, 0.5), seconds=30.0)])
        made[0] = 5  # those of another place, too
        shown.add([replace(record("adam", 1, 0.5), seconds=90.0)])
    ends = [line.rsplit(", ", 1)[1] for line in screen()]
    assert ends == ["2 min left", "40 s left", "0 s left"]


def test_after_a_look_the_watch_says_who_leads_and_who_is_still_in_the_race(
    screen: Callable[[], list[str]],
):
    results = draw(equal(3), np.random.default_rng(1), repeats=5)
    looks = looks_of()
    answer = judge(results, looks, margin=0.02)
    names = list(results.optimizers)
    searches = tuple(PlannedSearch(name, "random", 2, 6) for name in names)
    plan = Plan(searches, tuple(names), 0, tuple(look.repeats for look in looks), True, 1, 0, 3)
    after = dict.fromkeys(names, 5) | {names[0]: 8, names[1]: 8}
    with Watch(plan, []) as shown:
        shown.begin(Round(dict.fromkeys(names, 5), after, answer, looks))
    first, second = screen()
    bound = at_most(answer.bound or 0)
    assert first.startswith(f"look 1 of 5: {answer.leader} leads, at most {bound} points behind")
    assert f"still in the race: {' and '.join(answer.contenders)}; next: 54 epochs for 2" in first
    assert second.startswith("search: look 2 of 5, 0/42 search runs")
    asked = judge(results, looks, margin=0.02, asked=names[:2])
    line = round_line(Round(dict.fromkeys(names, 5), after, asked, looks), plan)
    one, two = (f"(at most {at_most(asked.about(name).bound)} points behind)" for name in names[:2])
    said = f"{names[0]} is undecided {one} and {names[1]} is undecided {two}"
    assert line.startswith(f"look 1 of 5: {said}; still in the race: ")


def test_the_plan_says_which_verdicts_the_race_continues_for():
    def lines(ask: str, *more: str, **code: dict[str, str]) -> list[str]:
        chosen, space = options("--ask", ask, *more), load_space("default")
        meta = make_meta(list(space.optimizers), ["a"], settings=chosen.settings(), code=code)
        return question_lines(make_plan(chosen, space), meta)

    assert lines("best") == [] and lines("all", "--repeats", "5") == []
    known = "plan: the race continues until the verdicts on {} are known"
    assert lines("adam, sgd") == [known.format("adam and sgd")]
    assert lines("all", lion={}) == [known.format("12 optimizers")]
    own = "plan: the race also continues until the verdict on lion is known"
    assert lines("adam,sgd", lion={}) == [known.format("adam and sgd"), own]
