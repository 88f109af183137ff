"""The plan counts what will be trained; the watch counts what has been."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_record

from study.features.vgg16 import load_backbone
from study.images.splits import Split
from study.records.trial_record import Phase, TrialStatus
from study.search import live_progress as watch_module
from study.search.live_progress import Watch
from study.search.options import Options, parse, resolve_options
from study.search.plan import count_programs, make_plan, model_summary, plan_lines
from study.space.space import SearchSpace, load_space

SPLIT = Split(*(np.arange(size, dtype=np.int32) for size in (120, 160, 120)))  # the faces'


def options(*argv: str) -> Options:
    return resolve_options(parse(argv), {}, "default")


def test_the_default_study_is_counted_exactly():
    plan = make_plan(options(), load_space("default"))
    assert len(plan.searches) == 12 and plan.repeats == 5
    assert {(s.kind, s.trials, s.epochs) for s in plan.searches} == {("hyperband", 90, 576)}
    assert plan.trials == 12 * 5 * 90
    assert (plan.confirm_runs, plan.default_runs) == (12 * 5 * 3, 12 * 5)
    assert plan.epochs == 12 * 5 * 576 + (180 + 60) * 30


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
    assert (plan.trials, plan.confirm_runs, plan.default_runs) == (3, 3, 0)
    assert plan.epochs == 6 * 50


def test_the_plan_says_what_was_cut(tmp_path: Path):
    path = tmp_path / "small.toml"
    path.write_text(
        '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.1, 0.2, 0.3]}\n'
        '[optimizers.adam]\nclass = "Adam"\nlearning_rate = {min = 1e-4, max = 0.1}\n'
    )
    space = load_space(str(path))
    lines = "\n".join(plan_lines(make_plan(options(), space), options(), space, SPLIT))
    assert "sgd has too few configurations for hyperband: a grid search of 3 instead" in lines
    assert "adam has too few" not in lines
    assert "3 trials (90 epochs) or 90 trials (576 epochs) each" in lines


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "12 hyperband searches of 90 trials (576 epochs) each, 5 repeats;"),
        (("--repeats", "1", "--confirm", "1"), "1 repeat; 12 confirmation runs, 12 untuned runs;"),
        (("--tuner", "random", "--trials", "7"), "12 random searches of 7 trials (210 epochs)"),
    ],
)
def test_the_plan_reads_as_a_sentence(argv: tuple[str, ...], words: str):
    space = load_space("default")
    first = plan_lines(make_plan(options(*argv), space), options(*argv), space, SPLIT)[0]
    assert words in first and first.startswith("plan: ")


def test_the_plan_says_how_many_programs_are_compiled():
    space = load_space("quick")
    lines = plan_lines(make_plan(options(), space), options(), space, SPLIT)
    programs = count_programs(space, SPLIT)
    assert f"plan: at most {programs} programs to compile, about 2 s each" in lines
    assert 1 <= programs <= 12
    assert count_programs(space.restrict(["adam"]), SPLIT) == 1


def test_the_plan_says_what_a_fuller_study_costs():
    space = load_space("default")
    lines = plan_lines(make_plan(options(), space), options(), space, SPLIT)
    fuller = options("--max-epochs", "100", "--repeats", "10")
    assert f"would train {make_plan(fuller, space).epochs:,} epochs" in lines[-1]
    assert "fuller" not in "".join(plan_lines(make_plan(fuller, space), fuller, space, SPLIT))


@pytest.mark.parametrize("name", ["default", "blog_t11"])
def test_the_model_summary_shows_the_parameters(name: str):
    space: SearchSpace = load_space(name)
    backbone = load_backbone("random", image_size=32, preprocess="caffe", device="cpu")
    text = model_summary(space, backbone, 17)
    assert "Total params: 14,805,485" in text
    assert "Trainable params: 90,457" in text
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


def test_a_watch_counts_trials_and_names_the_best(screen: Callable[[], list[str]]):
    with Watch({"adam": 2, "sgd": 2}, 12, []) as watch:
        watch.add([record("adam", 0, 0.5), record("sgd", 0, 0.7)])
        watch.add([record("adam", 1, 0.9)])
    lines = screen()
    assert lines[0].startswith("search: 2/4 trials, best so far sgd 0.700, ")
    assert lines[1].startswith("search: 3/4 trials, best so far adam 0.900, ")
    assert all(line.endswith(" left") for line in lines)


def test_a_resumed_watch_counts_what_is_known(screen: Callable[[], list[str]]):
    with Watch({"adam": 4}, 12, [record("adam", 0, 0.5), record("adam", 1, 0.6)]) as watch:
        watch.add([record("adam", 2, 0.4)])
    assert screen()[0].startswith("search: 3/4 trials, best so far adam 0.600, 0 s left")


def test_runs_without_an_accuracy_are_never_the_best(screen: Callable[[], list[str]]):
    bad = record("sgd", 1, math.nan, status=TrialStatus.DIVERGED)
    with Watch({"sgd": 3}, 9, []) as watch:
        watch.add([bad])
        watch.add([record("sgd", 2, 0.3)])
        watch.add([replace(bad, trial_id="sgd/0/search/0009")])
    lines = screen()
    assert "best" not in lines[0]
    assert lines[-1].startswith("search: 3/3 trials, best so far sgd 0.300, ")


def test_confirmations_count_as_work_but_not_as_trials(screen: Callable[[], list[str]]):
    done = replace(record("adam", 0, 0.5), phase=Phase.CONFIRM, trial_id="adam/0/confirm/1-0")
    with Watch({"adam": 1}, 6, []) as watch:
        watch.add([done])
    assert screen()[0].startswith("search: 0/1 trials, ")
