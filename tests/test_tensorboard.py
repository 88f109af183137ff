"""TensorBoard's own reader finds in the event files what the records say."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import OPTIMIZERS, make_record, make_records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.search.tensorboard import CURVES, STATUS, EventFolder, ReportEvents, run_name
from study.space.space import load_space


def read(folder: Path, run: str = "") -> EventAccumulator:
    found = EventAccumulator(str(folder / run), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def curve(events: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    points = events.Scalars(tag)
    return [point.step for point in points], [point.value for point in points]


def hparams(events: EventAccumulator) -> dict[str, object]:
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(content).hparams
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}


def columns(folder: Path) -> api_pb2.Experiment:
    content = read(folder).SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    return metadata.parse_experiment_plugin_data(content)


@pytest.fixture
def records() -> list[TrialRecord]:
    return make_records(["adam", "sgd"], repeats=2, confirm=2, trials=9)


@pytest.fixture
def folder(tmp_path: Path, records: list[TrialRecord]) -> Path:
    EventFolder.recreate(tmp_path / "events", load_space("quick")).write(records)
    return tmp_path / "events"


def test_every_configuration_is_one_run_with_its_hyperparameters(
    folder: Path, records: list[TrialRecord]
):
    runs = {str(path.parent.relative_to(folder)) for path in folder.rglob("*tfevents*")}
    first = [record for record in records if record.continues is None]
    assert runs == {".", *map(run_name, first)} and len(runs) == len(first) + 1
    for record in first:
        found = hparams(read(folder, run_name(record)))
        expected = {"optimizer": record.optimizer, "phase": record.phase, "repeat": record.repeat}
        assert found.items() >= expected.items() and found.items() >= record.hyperparameters.items()


def test_a_promoted_trial_continues_its_curves_without_a_point_twice(
    folder: Path, records: list[TrialRecord]
):
    by_id = {record.trial_id: record for record in records}
    last = next(r for r in records if r.rung == 2 and r.status is TrialStatus.COMPLETED)
    middle = by_id[last.continues or ""]
    root = by_id[middle.continues or ""]
    events = read(folder, run_name(root))
    for field, tag in CURVES.items():
        rungs = [
            *getattr(root, field)[: root.epochs],
            *getattr(middle, field)[root.epochs : middle.epochs],
            *getattr(last, field)[middle.epochs :],
        ]
        steps, values = curve(events, tag)
        assert steps == list(range(1, last.epochs + 1))
        assert np.allclose(values, rungs, equal_nan=True)
    steps, values = curve(events, "best/epochs")
    assert values == steps == [root.epochs, middle.epochs, last.epochs]
    assert curve(events, "best/rung")[1] == [0, 1, 2]
    assert curve(events, "best/status")[1][-1] == STATUS[TrialStatus.COMPLETED]


def test_metrics_are_those_of_the_best_epoch(folder: Path, records: list[TrialRecord]):
    record = next(r for r in records if r.phase is Phase.CONFIRM)
    events = read(folder, run_name(record))
    assert record.test_accuracy is not None
    for tag, value in {
        "best/val_accuracy": record.best_val_accuracy,
        "best/val_loss": record.val_loss[record.best_epoch - 1],
        "best/test_accuracy": record.test_accuracy,
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
    EventFolder.recreate(tmp_path / "events", load_space("quick"), made)
    diverged, failed = (read(tmp_path / "events", run_name(record)) for record in made)
    assert math.isnan(curve(diverged, "loss/training")[1][-1])
    assert "loss/training" not in failed.Tags()["scalars"]
    assert [curve(run, "best/status")[1] for run in (diverged, failed)] == [[1], [2]]
    assert hparams(failed)["learning_rate"] == 1e-3


def test_the_overview_has_what_no_search_selected_and_stays_small_enough_to_be_shown_at_once():
    """TensorBoard selects no run by itself where there are more than 500."""
    names = [run_name(record) for record in make_records(list(OPTIMIZERS), trials=90)]
    overview = {name for name in names if name.startswith("overview/")}
    assert overview == {name for name in names if "/search-" not in name}
    assert len(overview) < 500 < len(set(names))


def test_the_table_has_every_hyperparameter_of_every_space_and_the_metrics(folder: Path):
    found = columns(folder)
    names = [info.name for info in found.hparam_infos]
    assert len(names) == len(set(names))
    for space in map(load_space, ("default", "quick", "blog_t11")):
        for optimizer in space.optimizers:
            assert set(space.default(optimizer).hyperparameters()) <= set(names)
    assert set(names) > {"optimizer", "phase", "repeat", "bracket", "final_factor", "decay_steps"}
    kinds = {info.name: api_pb2.DataType.Name(info.type) for info in found.hparam_infos}
    assert kinds["optimizer"] == kinds["schedule"] == "DATA_TYPE_STRING"
    assert kinds["learning_rate"] == kinds["dense_width"] == "DATA_TYPE_FLOAT64"
    assert kinds["batch_norm"] == kinds["amsgrad"] == "DATA_TYPE_BOOL"
    first = {info.name for info in found.hparam_infos if info.differs}
    assert first == {"optimizer", "phase", "learning_rate", "schedule", "repeat"}
    metrics = [info.name.tag for info in found.metric_infos]
    names = ("val_accuracy", "val_loss", "test_accuracy", "epochs", "rung", "status")
    assert metrics == [f"best/{name}" for name in names]


def test_the_table_has_the_hyperparameters_of_a_users_own_space(tmp_path: Path):
    path = tmp_path / "my.toml"
    path.write_text('[optimizers.f]\nclass = "Ftrl"\nlearning_rate_power = {min = -1.0, max = 0}')
    EventFolder.recreate(tmp_path / "events", load_space(str(path)))
    names = [info.name for info in columns(tmp_path / "events").hparam_infos]
    assert "learning_rate_power" in names


def test_a_resumed_study_writes_the_same_events_again(tmp_path: Path, records: list[TrialRecord]):
    folder = tmp_path / "events"
    whole = EventFolder.recreate(folder, load_space("quick"))
    for record in records:  # one by one, as a search does
        whole.write([record])
    before = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*tfevents*")}
    resumed = EventFolder.recreate(folder, load_space("quick"), records[:20])
    resumed.write(records[20:])
    after = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*tfevents*")}
    assert after == before


def test_a_rung_whose_first_part_was_lost_is_shown_whole(tmp_path: Path):
    made = make_records(["adam"], repeats=1, confirm=0, trials=9)
    promoted = next(r for r in made if r.rung == 1 and r.status is TrialStatus.COMPLETED)
    EventFolder.recreate(tmp_path / "events", load_space("quick"), [promoted])
    steps, _ = curve(read(tmp_path / "events", run_name(promoted)), "accuracy/validation")
    assert steps == list(range(1, promoted.epochs + 1))


def test_pictures_and_words_of_the_report_are_there_once(tmp_path: Path):
    png = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(png, "PNG")
    for _ in range(2):  # the second report replaces the first
        report = ReportEvents.recreate(tmp_path)
        report.image("data/training_images", png.getvalue())
        report.text("report", "# Ranking\n\n| 家 | <b> |")
    events = read(tmp_path, "overview/report")
    (picture,) = events.Images("data/training_images")
    assert (picture.width, picture.height) == (30, 20)
    assert picture.encoded_image_string == png.getvalue()
    (words,) = events.Tensors("report")
    assert words.tensor_proto.string_val[0].decode() == "# Ranking\n\n| 家 | <b> |"
    assert events.SummaryMetadata("report").plugin_data.plugin_name == "text"
