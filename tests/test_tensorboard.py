"""TensorBoard's own reader finds in the event files what the records say."""

import errno
import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import OPTIMIZERS, make_record, make_records, write_study
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from study.records.outcomes import repeat_means, search_winner, winning_run
from study.records.study_meta import load_meta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.records.trials_file import load_trials
from study.report import main
from study.report.analysis.summary import load_study
from study.report.tables import percent, ranking_table, standings
from study.search.command_line import parse, resolve_options
from study.search.plan import make_plan
from study.space.search_space import SearchSpace, load_space
from study.tensorboard import events
from study.tensorboard.event_folder import MOST_RUNS, EventFolder, selects_all
from study.tensorboard.events import RunFile
from study.tensorboard.hparams_columns import RUN
from study.tensorboard.optimizer_runs import CURVES, STATUS, run_name
from study.verdicts.answer import Standing

STUDIES = Path(__file__).parent / "studies"
STANDINGS = {
    "adam": Standing("good enough", 0.91, 0.8, 3.5),
    "sgd": Standing("undecided", 0.89, 4.1, None),
}
EVERYTHING = {"scalars": 0, "tensors": 0}


def read(folder: Path, run: str = "") -> EventAccumulator:
    found = EventAccumulator(str(folder / run), size_guidance=EVERYTHING)
    found.Reload()
    return found


def curve(events: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    points = events.Scalars(tag)
    return [point.step for point in points], [point.value for point in points]


def row(events: EventAccumulator) -> plugin_data_pb2.SessionStartInfo:
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    return metadata.parse_session_start_info_plugin_data(content)


def hparams(events: EventAccumulator) -> dict[str, object]:
    values = row(events).hparams
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}


def columns(logs: Path) -> api_pb2.Experiment:
    content = read(logs, RUN).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    return metadata.parse_experiment_plugin_data(content)


def runs(folder: Path) -> set[str]:
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("*tfevents*")}


def quick() -> SearchSpace:
    """The space that `records` are of."""
    return load_space("quick").restrict(["adam", "sgd"])


def of(records: list[TrialRecord], name: str) -> list[TrialRecord]:
    return [record for record in records if record.optimizer == name]


@pytest.fixture
def records() -> list[TrialRecord]:
    return make_records(["adam", "sgd"], repeats=3, confirm=2, trials=9)


@pytest.fixture
def folder(tmp_path: Path, records: list[TrialRecord]) -> Path:
    """A finished study whose trials are runs, too."""
    folder = tmp_path / "logs" / "mine" / "tensorboard"
    events = EventFolder.recreate(folder, quick(), every_trial=True)
    events.begin("look 1 of 1", {})
    events.write(records)
    events.end((), STANDINGS)
    return folder


def test_three_studies_of_twelve_optimizers_are_few_enough_to_be_selected(tmp_path: Path):
    made = make_records(list(OPTIMIZERS), repeats=1, trials=9)
    for study in "abc":
        events = EventFolder.recreate(tmp_path / study / "tensorboard", load_space("default"))
        events.show_text("search/plan", ["what it does"])
        events.write(made)
        events.end((), {})
    found = {Path(run) for run in runs(tmp_path)}
    assert {run.name for run in found} == {*OPTIMIZERS, "report", RUN}
    assert len(found) == 40 <= MOST_RUNS
    assert len(list(tmp_path.rglob("*tfevents*"))) == len(found)  # a file each


def test_an_optimizers_run_is_its_typical_winner_beside_the_untuned_run_of_that_repeat(
    folder: Path, records: list[TrialRecord]
):
    for name in ("adam", "sgd"):
        events, own = read(folder, name), of(records, name)
        winner = winning_run(own)
        assert winner is not None
        untuned = next(r for r in own if r.phase is Phase.DEFAULT and r.repeat == winner.repeat)
        for field, tag in CURVES.items():
            for shown, record in ((tag, winner), (f"untuned/{tag}", untuned)):
                steps, values = curve(events, shown)
                assert steps == list(range(1, record.epochs + 1))
                assert np.allclose(values, getattr(record, field))
        expected = {"study": "mine", "optimizer": name, "phase": "winner"}
        expected["verdict"] = STANDINGS[name].verdict
        said = STANDINGS[name]
        assert row(events).group_name.startswith(f"{name}, mine, ")
        assert np.allclose(curve(events, "table/confirmed")[1], said.mean)
        assert np.allclose(curve(events, "table/at_most_behind")[1], said.behind)
        new = "table/at_most_behind_new_images"
        assert (new in events.Tags()["scalars"]) == (said.behind_new is not None)
        assert hparams(events).items() >= (expected | dict(winner.hyperparameters)).items()


def test_an_optimizers_run_shows_what_was_confirmed_and_the_progress_of_its_searches(
    folder: Path, records: list[TrialRecord]
):
    own = of(records, "adam")
    events = read(folder, "adam")
    means = repeat_means(record for record in own if record.phase is Phase.CONFIRM)
    steps, values = curve(events, "confirmed/accuracy")
    assert steps == [0, 1, 2] and np.allclose(values, list(means.values()))
    trials = [record for record in own if record.phase is Phase.SEARCH]
    best = search_winner(trials)
    assert best is not None
    steps, values = curve(events, "search/best_so_far")
    assert steps == sorted(set(steps)) and values == sorted(values)
    assert steps[-1] == sum(
        len(record.loss) - record.initial_epoch for record in trials if record.loss
    )
    assert math.isclose(values[-1], best.best_value, rel_tol=1e-6)


def test_a_running_study_grows_and_no_run_ever_shows_two_curves(
    tmp_path: Path, records: list[TrialRecord]
):
    folder = tmp_path / "mine" / "tensorboard"
    own = of(records, "adam")
    events = EventFolder.recreate(folder, load_space("quick").restrict(["adam"]))
    events.begin("look 1 of 2", {})
    live = read(folder, "adam until look 1 of 2")
    assert hparams(live) == {"study": "mine", "optimizer": "adam", "phase": "search"}
    lengths = []
    for record in own:
        events.write([record])
        live.Reload()
        if "search/best_so_far" in live.Tags()["scalars"]:
            lengths.append(len(live.Scalars("search/best_so_far")))
    assert lengths[-1] > lengths[0] >= 1 and lengths == sorted(lengths)
    untuned = next(record for record in own if record.phase is Phase.DEFAULT)
    assert curve(live, "untuned/accuracy/validation")[0] == list(range(1, untuned.epochs + 1))
    assert "accuracy/validation" not in live.Tags()["scalars"]  # nobody has won yet
    events.begin("look 2 of 2", {})
    assert runs(folder) == {"adam until look 2 of 2"}
    steps, _ = curve(read(folder, "adam until look 2 of 2"), "accuracy/validation")
    assert steps == sorted(set(steps))
    events.end((), {})
    assert runs(folder) == {"adam"}


def test_a_run_that_is_written_anew_under_an_open_reader_has_no_point_twice(
    tmp_path: Path, records: list[TrialRecord]
):
    folder = tmp_path / "mine" / "tensorboard"
    for count in (len(records) // 2, len(records)):
        events = EventFolder.recreate(folder, load_space("quick"), records[:count])
        events.begin("look 1 of 2", {})
        if count < len(records):
            reader = read(folder, "sgd until look 1 of 2")
    reader.Reload()
    for tag in reader.Tags()["scalars"]:
        steps, _ = curve(reader, tag)
        assert steps == sorted(set(steps)), tag
    assert curve(reader, "search/best_so_far") == curve(
        read(folder, "sgd until look 1 of 2"), "search/best_so_far"
    )


def test_a_resumed_study_ends_with_the_same_runs(tmp_path: Path, records: list[TrialRecord]):
    folder = tmp_path / "mine" / "tensorboard"

    def sizes() -> dict[str, int]:
        found = folder.rglob("*tfevents*")
        return {str(path.parent.relative_to(folder)): path.stat().st_size for path in found}

    undisturbed = EventFolder.recreate(folder, load_space("quick"), every_trial=True)
    undisturbed.begin("look 1 of 1", {})
    for record in records:  # one by one, as a search does
        undisturbed.write([record])
    undisturbed.end((), {})
    before = sizes()
    resumed = EventFolder.recreate(folder, load_space("quick"), records[:20], every_trial=True)
    resumed.begin("look 1 of 1", {})
    resumed.write(records[20:])
    resumed.end((), {})
    assert sizes() == before


def test_a_record_that_a_longer_search_replaced_is_not_shown(tmp_path: Path):
    made = make_records(["adam"], repeats=1, confirm=2, trials=9)
    old = winning_run(made)
    assert old is not None
    space = load_space("quick").restrict(["adam"])
    events = EventFolder.recreate(tmp_path / "mine" / "tensorboard", space, made)
    events.end([old.trial_id], {})
    other = winning_run(record for record in made if record is not old)
    assert other is not None
    shown = read(tmp_path / "mine" / "tensorboard", "adam")
    assert np.allclose(curve(shown, "accuracy/validation")[1], other.val_accuracy)


def test_every_trial_is_a_run_where_few_are_planned(tmp_path: Path):
    space = load_space("quick").restrict(["adam", "sgd"])
    folder = tmp_path / "mine" / "tensorboard"

    def fits(*words: str) -> bool:
        options = resolve_options(parse(list(words)), space.study, space.name)
        return selects_all(make_plan(options, space).runs, folder)

    few = ("--tuner", "random", "--trials", "5", "--repeats", "1", "--confirm", "3")
    assert fits(*few) and not fits() and not fits(*few[:-1], "20")
    for number in range(20):  # another study's runs take their places
        RunFile(tmp_path / "other" / "tensorboard" / str(number)).append([])
    assert not fits(*few)


def test_every_configuration_is_one_run_with_its_hyperparameters(
    folder: Path, records: list[TrialRecord]
):
    first = [record for record in records if record.continues is None]
    trials = {f"trials/{run_name(record)}" for record in first}
    assert runs(folder) == {"adam", "sgd", *trials}
    assert len(runs(folder)) == len(first) + 2
    for record in first:
        found = hparams(read(folder / "trials", run_name(record)))
        expected = {"optimizer": record.optimizer, "phase": record.phase, "repeat": record.repeat}
        assert found.items() >= expected.items() and found.items() >= record.hyperparameters.items()


def test_a_promoted_trial_continues_its_curves_without_a_point_twice(
    folder: Path, records: list[TrialRecord]
):
    by_id = {record.trial_id: record for record in records}
    last = next(r for r in records if r.rung == 2 and r.status is TrialStatus.COMPLETED)
    middle = by_id[last.continues or ""]
    root = by_id[middle.continues or ""]
    events = read(folder / "trials", run_name(root))
    for field, tag in CURVES.items():
        rungs = [
            *getattr(root, field)[: root.epochs],
            *getattr(middle, field)[root.epochs : middle.epochs],
            *getattr(last, field)[middle.epochs :],
        ]
        steps, values = curve(events, tag)
        assert steps == list(range(1, last.epochs + 1))
        assert np.allclose(values, rungs, equal_nan=True)
    steps, values = curve(events, "table/epochs")
    assert values == steps == [root.epochs, middle.epochs, last.epochs]
    assert curve(events, "table/rung")[1] == [0, 1, 2]
    assert curve(events, "table/status")[1][-1] == STATUS[TrialStatus.COMPLETED]


def test_metrics_are_those_of_the_best_epoch(folder: Path, records: list[TrialRecord]):
    record = next(r for r in records if r.phase is Phase.CONFIRM)
    events = read(folder / "trials", run_name(record))
    assert record.test_accuracy is not None
    for tag, value in {
        "table/val_accuracy": record.best_value,
        "table/val_loss": record.val_loss[record.best_epoch - 1],
        "table/test_accuracy": record.test_accuracy,
    }.items():
        ((step,), (found,)) = curve(events, tag)
        assert step == record.epochs and math.isclose(found, value, rel_tol=1e-6)


def test_a_diverged_run_shows_its_nan_and_a_failed_one_its_hyperparameters(tmp_path: Path):
    rng = np.random.default_rng(1)
    made = [
        make_record(
            rng,
            "sgd",
            Phase.SEARCH,
            trial_id=f"sgd/0/search/{status}",
            number=status,
            status=status,
        )
        for status in (TrialStatus.DIVERGED, TrialStatus.FAILED)
    ]
    folder = tmp_path / "mine" / "tensorboard"
    events = EventFolder.recreate(folder, load_space("quick"), made, every_trial=True)
    diverged, failed = (read(folder / "trials", run_name(record)) for record in made)
    assert math.isnan(curve(diverged, "loss/training")[1][-1])
    assert "loss/training" not in failed.Tags()["scalars"]
    assert [curve(run, "table/status")[1] for run in (diverged, failed)] == [[1], [2]]
    assert hparams(failed)["learning_rate"] == 1e-3
    events.end((), {})  # nobody won, nothing was found
    assert read(folder, "sgd").Tags()["scalars"] == []
    assert hparams(read(folder, "sgd"))["optimizer"] == "sgd"


def test_the_table_has_the_hyperparameters_of_the_study_and_the_metrics(
    folder: Path, tmp_path: Path
):
    space = load_space("default")
    EventFolder.recreate(tmp_path / "mine" / "tensorboard", space)
    found = columns(tmp_path)
    names = [info.name for info in found.hparam_infos]
    assert len(names) == len(set(names))
    configs = [space.default(optimizer).hyperparameters() for optimizer in space.optimizers]
    tuned = set().union(*configs, *space.schedules.values())
    about = {"study", "optimizer", "verdict", "phase", "repeat", "bracket"}
    assert set(names) == tuned | about
    kinds = {info.name: api_pb2.DataType.Name(info.type) for info in found.hparam_infos}
    assert kinds["optimizer"] == kinds["schedule"] == "DATA_TYPE_STRING"
    assert kinds["learning_rate"] == kinds["dense_width"] == "DATA_TYPE_FLOAT64"
    assert kinds["batch_norm"] == kinds["amsgrad"] == "DATA_TYPE_BOOL"
    first = {info.name for info in found.hparam_infos if info.differs}
    assert first == {"optimizer", "verdict", "learning_rate", "schedule"}
    shown = {tag for run in runs(folder) for tag in read(folder, run).Tags()["scalars"]}
    metrics = [info.name.tag for info in found.metric_infos]
    assert metrics[0] == "table/confirmed" and set(metrics) <= shown


def test_studies_beside_one_another_share_their_columns(tmp_path: Path):
    """TensorBoard takes one list for all, so whichever starts last writes that of all."""
    tables = {"optimizers": {"mine": {"class": "mine.py:Mine", "shrink": {"choices": [1, 2]}}}}
    space = {"name": "mine", "fingerprint": "ef" * 8, "table": tables}
    write_study(tmp_path, ["adam"], meta={"name": "first", "space": space}, repeats=1, trials=9)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.json").write_text("{")
    path = tmp_path / "my.toml"
    path.write_text(
        '[head]\nclass_weight = "balanced"\nlabel_smoothing = 0.1\n'
        "[schedules.exponential]\ndecay_steps = 10\ndecay_rate = 0.9\n"
        '[optimizers.f]\nclass = "Ftrl"\nlearning_rate_power = {min = -1.0, max = 0}'
    )
    for _ in range(2):
        EventFolder.recreate(tmp_path / "other" / "tensorboard", load_space(str(path)))
    kinds = {one.name: api_pb2.DataType.Name(one.type) for one in columns(tmp_path).hparam_infos}
    assert kinds["class_weight"] == "DATA_TYPE_STRING"
    for number in ("label_smoothing", "decay_steps", "decay_rate", "learning_rate_power"):
        assert kinds[number] == "DATA_TYPE_FLOAT64"
    assert kinds["shrink"] == "DATA_TYPE_FLOAT64"  # of the first study
    assert len(list((tmp_path / RUN).iterdir())) == 1


def test_a_rung_whose_first_part_was_lost_is_shown_whole(tmp_path: Path):
    made = make_records(["adam"], repeats=1, confirm=0, trials=9)
    promoted = next(r for r in made if r.rung == 1 and r.status is TrialStatus.COMPLETED)
    folder = tmp_path / "mine" / "tensorboard"
    EventFolder.recreate(folder, load_space("quick"), [promoted], every_trial=True)
    steps, _ = curve(read(folder / "trials", run_name(promoted)), "accuracy/validation")
    assert steps == list(range(1, promoted.epochs + 1))


def test_pictures_and_words_are_there_in_the_order_of_the_report(tmp_path: Path):
    png = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(png, "PNG")
    report = tmp_path / "mine" / "report"
    (report / "figures").mkdir(parents=True)
    for name in ("budget", "ranking"):
        (report / "figures" / f"{name}.png").write_bytes(png.getvalue())
    words = "# 家 | <b>\n\n![a](figures/ranking.png)\n\n![b](figures/budget.png)\n"
    (report / "report.md").write_text(words, encoding="utf-8")
    events = EventFolder.recreate(tmp_path / "mine" / "tensorboard", load_space("quick"))
    events.show_text("search/plan", ["one", "two <b>"])
    events.show_report(report)
    shown = read(tmp_path / "mine" / "tensorboard", "report")
    assert sorted(shown.Tags()["images"]) == ["report/01_ranking", "report/02_budget"]
    (picture,) = shown.Images("report/01_ranking")
    assert (picture.width, picture.height) == (30, 20)
    assert picture.encoded_image_string == png.getvalue()
    listed = "# 家 | <b>\n\n*under Images: report/01_ranking*\n\n*under Images: report/02_budget*\n"
    for tag, text in {"report": listed, "search/plan": "- one\n- two \\<b\\>"}.items():
        (found,) = shown.Tensors(tag)
        assert found.tensor_proto.string_val[0].decode() == text
        assert shown.SummaryMetadata(tag).plugin_data.plugin_name == "text"


def test_verdict_and_mean_are_those_of_the_report(tmp_path: Path):
    study = write_study(tmp_path, repeats=12, trials=9, predictions=False)
    shown = {row[0]: (row[1], row[4]) for row in ranking_table(load_study(study)).rows}
    assert len({verdict for verdict, _ in shown.values()}) > 1
    found = standings(load_meta(study), load_trials(study))
    assert {name: (one.verdict, percent(one.mean)) for name, one in found.items()} == shown


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path):
    file = RunFile(tmp_path)
    file.path = Path("/dev/full")
    with pytest.raises(OSError) as caught:
        file.append([events.text("a", "b")])
    assert caught.value.errno == errno.ENOSPC


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two studies whose trials have the same names."""
    for name in ("first", "second"):
        write_study(
            tmp_path / "logs", ["adam"], meta={"name": name}, predictions=False,
            repeats=1, trials=9, seed=len(name),
        )  # fmt: skip
    return tmp_path / "logs"


def write_trials(logs: Path, target: Path, *names: str) -> int:
    named = [word for name in names for word in ("--study", name)]
    return main(["--logs", str(logs), *named, "--trials-to", str(target)])


def test_trials_of_two_studies_are_written_from_their_records_in_rows_of_their_own(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "trials"
    for _ in range(2):  # what an earlier call wrote is replaced
        assert write_trials(logs, target, "first", "second") == 0
    assert f"tensorboard --logdir {target}" in capsys.readouterr().out
    made = make_records(["adam"], repeats=1, trials=9, seed=len("first"))
    first = {run_name(record) for record in made if record.continues is None}
    assert {run for run in runs(target) if run.startswith("first/")} == {
        f"first/{run}" for run in first
    }
    groups = set()
    for run in runs(target) - {RUN}:
        events = read(target, run)
        assert hparams(events)["study"] == run.split("/")[0]
        groups.add(row(events).group_name)
    assert len(groups) == len(runs(target)) - 1
    assert len(list(target.rglob("*tfevents*"))) == len(runs(target))
    assert "learning_rate" in {info.name for info in columns(target).hparam_infos}


@pytest.mark.parametrize("name", ["faces", "rows", "table"])
def test_trials_of_real_studies_are_written(name: str, tmp_path: Path):
    assert write_trials(STUDIES, tmp_path, name) == 0
    first = [one for one in load_trials(STUDIES / name) if one.continues is None]
    assert runs(tmp_path) == {RUN, *(f"{name}/{run_name(record)}" for record in first)}
    assert len(runs(tmp_path)) == len(first) + 1


def test_the_newest_study_is_taken_where_none_is_named(logs: Path, tmp_path: Path):
    assert write_trials(logs, tmp_path / "trials") == 0
    assert {run.split("/")[0] for run in runs(tmp_path / "trials")} <= {"first", "second", RUN}
    assert len(runs(tmp_path / "trials")) > 9


@pytest.mark.parametrize("place", ["logs", "logs/first", "logs/first/report", "logs/new"])
def test_trials_never_come_between_the_studies(
    logs: Path, place: str, capsys: pytest.CaptureFixture[str]
):
    before = sorted(logs.rglob("*"))
    assert write_trials(logs, logs.parent / place, "first") == 2
    assert "error: --trials-to: " in capsys.readouterr().err
    assert sorted(logs.rglob("*")) == before


def test_a_folder_with_something_else_in_it_is_refused_and_nothing_deleted(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = tmp_path / "trials" / "first" / "adam" / "thesis.txt"
    other.parent.mkdir(parents=True)
    other.write_text("years of work")
    assert write_trials(logs, tmp_path / "trials", "second", "first") == 2
    found = capsys.readouterr().err
    assert found.count("\n") == 1 and "thesis.txt" in found and "--trials-to" in found
    assert other.read_text() == "years of work" and not (tmp_path / "trials" / "second").exists()
    assert write_trials(logs, other, "first") == 2  # a file
    assert "is not a folder" in capsys.readouterr().err


def test_a_run_stays_in_its_folder_whatever_a_record_says():
    rng = np.random.default_rng(1)
    record = make_record(rng, "../../..", Phase.SEARCH, trial_id="x", number="../1")
    assert run_name(record) == "________/search-0-___1"
