"""Whole studies that are judged by balanced accuracy or macro F1: searched, resumed, reported."""

import csv
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from sklearn.metrics import balanced_accuracy_score, f1_score
from synthetic import make_meta, make_records, write_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from study.common.errors import UserError
from study.common.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1, WORDS
from study.compare import main as compare_main
from study.compare.pair import pair_of
from study.data.examples import Examples
from study.records.outcomes import chance, search_winner, value
from study.records.study_meta import load_meta
from study.records.trial_record import (
    Phase,
    TrialRecord,
    TrialStatus,
    best_epoch,
    cross_fitted_by_class,
)
from study.records.trials_file import load_trials
from study.report.analysis.summary import Summary, load_study, summarize
from study.report.figures.draw import draw_figures
from study.report.keras_code import keras_code
from study.report.notebook import Study
from study.search import main as search_main
from study.search.budget import promotions
from study.search.command_line import as_arguments, parse, resolve_options
from study.search.options import Options
from study.search.protocol import StudyProtocol
from study.search.runner import Runner
from study.search.tasks import Data, make_splits
from study.space.search_space import load_space
from study.training.head import head_probabilities
from study.training.population import LocalTrainer
from study.training.runs import HeadRun, TrainingRules
from study.verdicts.looks import planned_looks
from study.verdicts.results import value_step

BY_CLASS = (BALANCED_ACCURACY, MACRO_F1)
SIZES = (90, 24, 12)  # of the classes
SPACE = (
    "[head]\ndense_width = 16\nbatch_norm = false\n[optimizers.sgd]\nclass = 'SGD'\n"
    "learning_rate = {min = 1e-3, max = 3.0, scale = 'log'}\n"
)


def options(*arguments: str) -> Options:
    small = ["--data", "blobs", "--max-epochs", "6", "--repeats", "2", "--confirm", "2"]
    small += ["--tuner", "random"]
    if "hyperband" not in arguments:
        small += ["--trials", "6"]
    return resolve_options(parse([*small, *arguments]), {}, "space")


def searched(
    tmp_path: Path, chosen: Options, known: Iterable[TrialRecord] = ()
) -> tuple[StudyProtocol, list[TrialRecord]]:
    """A search on unbalanced blobs that overlap; what it trained now, in the order of ids."""
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    space = load_space(str(path))
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), SIZES).astype(np.int32)
    centres = rng.normal(size=(3, 8))
    features = (centres[labels] + rng.normal(scale=1.5, size=(len(labels), 8))).astype(np.float32)
    digests = tuple(f"{row:064d}" for row in range(len(labels)))
    images = Examples(
        source=Path("blobs"), labels=labels, class_names=("a", "b", "c"), digests=digests
    )
    data = Data(features, labels, 3, make_splits(images, chosen))
    rules = TrainingRules(chosen.max_epochs, metric=chosen.metric)
    population = LocalTrainer(data.table, rules, size=4)
    promoted = promotions(chosen.tuner, chosen.max_epochs, chosen.factor)
    saved: list[TrialRecord] = []
    runner = Runner(data, population, promoted, known, saved.extend)
    meta = make_meta(
        list(space.optimizers), ["a", "b", "c"], settings=chosen.settings(),
        looks=list(planned_looks(chosen.repeats, chosen.most_repeats)), class_counts=list(SIZES),
    )  # fmt: skip
    protocol = StudyProtocol(chosen, space, runner, meta)
    protocol.run()
    return protocol, sorted(saved, key=lambda record: record.trial_id)


def comparable(records: Iterable[TrialRecord]) -> list[str]:
    return [repr(replace(record, seconds=0.0)) for record in records]


def by_sklearn(metric: str, labels: np.ndarray, said: np.ndarray) -> float:
    if metric == MACRO_F1:
        return float(f1_score(labels, said, average="macro", zero_division=0))
    return float(balanced_accuracy_score(labels, said))


def test_a_metric_comes_from_the_command_from_python_or_from_a_space() -> None:
    assert options().metric == ACCURACY
    assert options("--metric", MACRO_F1).metric == MACRO_F1
    given = as_arguments(data="blobs", metric=BALANCED_ACCURACY)
    assert resolve_options(given, {}, "space").metric == BALANCED_ACCURACY
    assert resolve_options(parse([]), {"metric": MACRO_F1}, "space").metric == MACRO_F1
    with pytest.raises(UserError, match=r"`metric`.*'f1'; valid: accuracy, balanced_acc"):
        as_arguments(metric="f1")


@pytest.mark.parametrize("metric", BY_CLASS)
def test_a_search_goes_by_the_metric_and_not_by_accuracy(tmp_path: Path, metric: str) -> None:
    protocol, records = searched(tmp_path, options("--metric", metric))
    assert {record.metric for record in records} == {metric}
    others = 0
    for record in records:
        assert record.best_epoch == best_epoch(record.val_metric)
        others += record.best_epoch != best_epoch(record.val_accuracy)
    assert others  # epochs that accuracy would not have kept
    for repeat in range(2):
        trials = [r for r in records if (r.phase, r.repeat) == (Phase.SEARCH, repeat)]
        winner = max(trials, key=lambda r: max(r.val_metric))
        assert max(winner.val_metric) == search_winner(trials).best_value
        confirmed = [r for r in records if (r.phase, r.repeat) == (Phase.CONFIRM, repeat)]
        assert {r.number for r in confirmed} == {search_winner(trials).number}
        for record in trials:
            lost = record.status is TrialStatus.DIVERGED
            known = chance(metric, SIZES) if lost else max(record.val_metric)
            assert protocol.runner.score(record) == known


def test_winners_differ_from_those_of_accuracy(tmp_path: Path) -> None:
    winners = {
        metric: {r.trial_id for r in searched(tmp_path, options("--metric", metric))[1]
                 if r.phase is Phase.CONFIRM}
        for metric in (ACCURACY, *BY_CLASS)
    }  # fmt: skip
    assert winners[ACCURACY] != winners[BALANCED_ACCURACY]
    assert winners[ACCURACY] != winners[MACRO_F1]


@pytest.mark.parametrize("metric", BY_CLASS)
def test_the_test_value_is_scikit_learns_at_the_best_epoch(tmp_path: Path, metric: str) -> None:
    protocol, records = searched(tmp_path, options("--metric", metric))
    data = protocol.runner.data
    for record in [r for r in records if r.phase is Phase.CONFIRM]:
        task = protocol.runner.tasks[record.trial_id]
        for rows, found in (
            (task.split.test, record.test_metric),
            (task.split.validation, record.best_value),
        ):
            (weights,) = protocol.runner.weights_of([task], [record.best_epoch])
            said = head_probabilities(task.config, weights, data.features[rows], None)
            wanted = by_sklearn(metric, data.labels[rows], said.argmax(axis=1))
            assert found == pytest.approx(wanted, abs=1e-6)
        rows = task.split
        again = HeadRun(task.config, rows.train, rows.validation, task.run.seed, record.epochs)
        ((_, result),) = next(protocol.runner.trainer.train([again]))
        fitted = cross_fitted_by_class(metric, result.metrics.val_counts.astype(float))
        assert value(record) == record.cross_fitted_metric == fitted


@pytest.mark.parametrize("tuner", ["random", "hyperband", "bayesian"])
def test_a_study_that_was_cut_off_goes_on_to_the_same_records(tmp_path: Path, tuner: str) -> None:
    chosen = options("--metric", MACRO_F1, "--tuner", tuner)
    whole = searched(tmp_path, chosen)[1]
    _, rest = searched(tmp_path, chosen, known=whole[::2])
    assert len(rest) == len(whole) - len(whole[::2])
    together = sorted([*whole[::2], *rest], key=lambda record: record.trial_id)
    assert comparable(together) == comparable(whole)


@pytest.fixture(scope="module")
def reported(
    picture_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A small unbalanced study by macro F1 through the real command, and its arguments."""
    top = tmp_path_factory.mktemp("by macro f1")
    shutil.copytree(picture_folder, top / "pictures")
    for path in sorted((top / "pictures" / "stripes").iterdir())[5:]:
        path.unlink()
    arguments = ["--data", str(top / "pictures"), "--image-size", "32", "--space", "quick"]
    arguments += ["--optimizers", "sgd,adam", "--repeats", "1", "--confirm", "2", "--tuner"]
    arguments += ["random", "--trials", "3", "--max-epochs", "3", "--weights", "random"]
    arguments += ["--population", "2", "--logs", str(top / "logs"), "--name", "small"]
    arguments += ["--cache-dir", str(top / "cache")]
    assert search_main([*arguments, "--metric", MACRO_F1]) == 0
    return top / "logs" / "small", arguments


def test_another_metric_is_another_study(
    reported: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arguments = reported
    before = (folder / "trials.jsonl").read_bytes()
    assert search_main([*arguments, "--metric", BALANCED_ACCURACY]) == 2
    told = capsys.readouterr().err
    assert "--metric macro_f1 -> balanced_accuracy" in told and "Traceback" not in told
    assert search_main(arguments) == 2  # not given is accuracy
    assert "--metric macro_f1 -> accuracy" in capsys.readouterr().err
    assert (folder / "trials.jsonl").read_bytes() == before
    assert search_main([*arguments, "--metric", MACRO_F1]) == 0
    assert (folder / "trials.jsonl").read_bytes() == before


def strays(text: str) -> list[str]:
    """Sentences that speak of accuracy, but for columns that show it and the code's own word."""
    text = text.replace('metrics=["accuracy"]', "").replace("metrics=[&#34;accuracy&#34;]", "")
    text = text.replace("Acc: accuracy at the best epoch.", "")
    text = re.sub(r"images, accuracy \d+\.\d %, macro F1", "", text)
    return re.findall(r".{0,40}accurac.{0,20}", text, re.I)


def test_the_report_says_the_metric_in_force(reported: tuple[Path, list[str]]) -> None:
    folder, _ = reported
    words = (folder / "report" / "report.md").read_text()
    page = re.sub(r"data:image[^\"']*", "", (folder / "report" / "report.html").read_text())
    for text in (words, page):
        assert "macro F1" in text and strays(text) == []
    assert "there the mean validation macro F1" in words  # over the Keras code
    assert "val macro F1 | test macro F1 | val acc | test acc" in words
    records = load_trials(folder)
    assert all(len(r.accuracy) == len(r.val_metric) == r.epochs for r in records)


def test_tables_for_programs_have_columns_of_the_metric(reported: tuple[Path, list[str]]) -> None:
    folder, _ = reported
    with (folder / "report" / "trials.csv").open(encoding="utf-8") as file:
        rows = {row["trial_id"]: row for row in csv.DictReader(file)}
    for record in load_trials(folder):
        row = rows[record.trial_id]
        assert float(row["val_macro_f1"]) == record.best_value
        assert float(row["val_accuracy"]) == record.val_accuracy[record.best_epoch - 1]
        fitted = record.cross_fitted_metric
        assert row["cross_fitted_macro_f1"] == ("" if fitted is None else str(fitted))
    with (folder / "report" / "ranking.csv").open(encoding="utf-8") as file:
        ranking = list(csv.DictReader(file))
    frame = Study(folder).ranking
    assert list(frame.columns) == list(ranking[0])
    for column in ("train_macro_f1", "test_macro_f1", "last_macro_f1", "val_accuracy"):
        assert np.allclose(frame[column], [float(row[column]) for row in ranking])
    assert "test_value" not in frame and Study(folder).trials["val_macro_f1"].notna().all()


def test_tensorboard_has_curves_of_the_metric_beside_accuracy(
    reported: tuple[Path, list[str]],
) -> None:
    folder, _ = reported
    events = EventAccumulator(str(folder / "tensorboard" / "adam"))
    events.Reload()
    tags = events.Tags()["scalars"]
    for tag in ("macro_f1/validation", "macro_f1/training", "accuracy/validation"):
        assert tag in tags and f"untuned/{tag}" in tags
    for tag in ("confirmed/macro_f1", "search/best_so_far_macro_f1", "table/confirmed_macro_f1"):
        assert tag in tags
    assert "confirmed/accuracy" not in tags and "table/confirmed" not in tags
    means = {r.repeat: [] for r in load_trials(folder)}
    for record in load_trials(folder):
        if record.phase is Phase.CONFIRM and record.optimizer == "adam":
            means[record.repeat].append(value(record))
    shown = [event.value for event in events.Scalars("confirmed/macro_f1")]
    assert np.allclose(shown, [np.mean(values) for values in means.values()])


def judged_by(metric: str, records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Made-up records with values of the metric that are below their accuracies."""

    def below(found: Sequence[float] | float | None) -> list[float] | float | None:
        return [x**2 for x in found] if isinstance(found, Sequence) else found and found**2

    return [
        replace(
            r, metric=metric, train_metric=below(r.accuracy), val_metric=below(r.val_accuracy),
            test_metric=below(r.test_accuracy), cross_fitted_metric=below(r.cross_fitted_accuracy),
        )
        for r in records
    ]  # fmt: skip


def made_up(tmp_path: Path, metric: str, names: list[str] | None = None) -> Summary:
    settings = make_meta(names or ["adam"], ["a", "b"]).settings | {"metric": metric}
    known = names or ["sgd", "momentum", "adam", "adamw"]
    records = judged_by(metric, make_records(known, repeats=5, trials=12, confirm=2))
    folder = write_study(
        tmp_path / metric, known, meta={"settings": settings, "name": metric}, records=records
    )
    return load_study(folder)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_every_figure_says_the_metric(tmp_path: Path, metric: str) -> None:
    pictures, _ = draw_figures(made_up(tmp_path, metric))
    names = {picture.name for picture in pictures}
    assert {f"curves_{metric}", "curves_loss", "per_class", "time", "budget"} <= names
    told = 0
    for picture in pictures:
        texts = [picture.title, picture.caption]
        texts += [found.get_text() for found in picture.figure.findobj(Text)]
        for text in texts:
            told += WORDS[metric].lower() in text.lower()
            left = re.sub(r"images, accuracy \d+\.\d %", "", text)
            left = re.sub(WORDS[metric], "", left, flags=re.I)
            assert "accurac" not in left.lower(), f"{picture.name}: {text}"
    assert told >= 8


def test_two_studies_with_different_metrics_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (made_up(tmp_path, metric, ["adam", "sgd"]) for metric in BY_CLASS)
    with pytest.raises(UserError, match="judged by balanced accuracy and study macro_f1 by macro"):
        pair_of(one, other)
    assert pair_of(one, one).metric == BALANCED_ACCURACY
    for name in BY_CLASS:
        shutil.move(tmp_path / name / name, tmp_path / "logs" / name)
    arguments = ["--logs", str(tmp_path / "logs"), "--study", *BY_CLASS[:1], "--study", BY_CLASS[1]]
    assert compare_main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "metric, level, words",
    [
        (BALANCED_ACCURACY, 0.5, "predicting one class, which has a balanced accuracy of 50.0 %"),
        (MACRO_F1, 0.482143, "predicting the largest class, a, which has a macro F1 of 48.2 %"),
    ],
)
def test_what_beats_nothing_is_said_by_the_level_of_the_metric(
    metric: str, level: float, words: str
) -> None:
    meta = make_meta(["adam"], ["a", "b"], class_counts=[135, 10], settings={"metric": metric})
    assert chance(metric, meta.class_counts) == pytest.approx(level, abs=1e-6)

    def text(reached: float) -> str:
        found = [
            replace(r, val_metric=[reached] * r.epochs, cross_fitted_metric=reached, best_epoch=1)
            for r in judged_by(metric, make_records(["adam"], repeats=5, trials=3, confirm=2))
        ]
        return summarize(meta, [r for r in found if r.status == "completed"]).headline.text

    assert words in text(level) and "--metric" not in text(level)
    assert "No optimizer beats" not in text(level + 0.01)


def test_one_image_counts_more_where_the_rarest_class_has_few() -> None:
    def step(metric: str, counts: list[int]) -> float:
        meta = make_meta(["adam"], ["a", "b"], class_counts=counts, settings={"metric": metric})
        return value_step(meta)

    assert step(MACRO_F1, [50, 50]) == pytest.approx(step(ACCURACY, [50, 50]))
    assert step(BALANCED_ACCURACY, [90, 10]) == pytest.approx(5 * step(ACCURACY, [90, 10]))


def test_the_code_over_a_study_of_accuracy_says_nothing_new(tmp_path: Path) -> None:
    found = made_up(tmp_path, MACRO_F1, ["adam"])
    run, length = found.settings[0].run, found.settings[0].length
    assert "there the mean validation macro F1 of" in keras_code(found.meta, run, length)
    plainly = keras_code(found.meta, replace(run, metric=ACCURACY), length)
    assert "there the mean validation accuracy of" in plainly and "F1" not in plainly


def test_a_study_whose_metric_is_unknown_is_damaged(tmp_path: Path) -> None:
    folder = write_study(tmp_path, ["adam"], repeats=1, trials=3)
    path = folder / "study.json"
    path.write_text(path.read_text().replace('"metric": "accuracy"', '"metric": "luck"'))
    with pytest.raises(UserError, match=r"is damaged \(settings: .*'luck'"):
        load_meta(folder)
