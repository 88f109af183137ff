"""Views of an image: their pixels, and that heads train on them as they should."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_population import DATA, MAX_EPOCHS, N_CLASSES, a_run, configuration, train

from study.data.examples import Examples
from study.data.load_images import load_images
from study.data.pixels.decoding import decode
from study.data.pixels.views import View, decode_view, seen, view_key, view_of
from study.data.splits.study_splits import Splits
from study.features.backbone import Backbone, load_backbone
from study.features.extract import extract_features
from study.records.study_meta import load_meta
from study.records.trials_file import load_trials
from study.search import main
from study.search.tasks import Data, count_rows, view_rows
from study.training.plain_keras import train_plainly
from study.training.population import LocalTrainer
from study.training.runs import TrainingRules, TrainingTable, order_of_rows

KEY = "ab" * 32
AS_IT_IS = View(mirrored=False, angle=0.0, side=1.0, centre=(0.5, 0.5), brightness=1.0)
N, VIEWS = len(DATA.labels), 3
NOISE = np.random.default_rng(7).normal(scale=0.1, size=(VIEWS - 1, *DATA.features.shape))
FEATURES = np.concatenate([DATA.features, *(DATA.features + NOISE)]).astype(np.float32)
LABELS = np.tile(DATA.labels, VIEWS)
ROWS = np.arange(N * VIEWS, dtype=np.int32).reshape(VIEWS, N).T  # (N, VIEWS)
TABLE, RULES = TrainingTable(FEATURES, LABELS, N_CLASSES, ROWS), TrainingRules(MAX_EPOCHS)


def picture(size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(5)
    small = rng.integers(0, 200, size=(8, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def test_the_view_of_everything_is_the_image_and_its_mirror_image() -> None:
    pixels = picture()
    assert (seen(pixels, 64, AS_IT_IS) == pixels).all()
    assert (seen(pixels, 64, AS_IT_IS._replace(mirrored=True)) == pixels[:, ::-1]).all()
    turned = seen(pixels, 64, AS_IT_IS._replace(angle=90.0))
    assert np.abs(turned.astype(int) - np.rot90(pixels, 1)).mean() < 1
    darker = seen(pixels, 64, AS_IT_IS._replace(brightness=0.5)).astype(int)
    assert np.abs(darker - pixels / 2).max() <= 0.5


def test_a_crop_shows_its_part_of_a_picture_that_is_not_square() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[20:, 40:] = 200  # below on the right
    corner = seen(pixels, 16, AS_IT_IS._replace(side=0.5, centre=(0.75, 0.75)))
    assert (corner == 200).all()
    assert (seen(pixels, 16, AS_IT_IS._replace(side=0.5, centre=(0.25, 0.75))) == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**6))
def test_a_view_shows_its_image_and_nothing_around_it(number: int) -> None:
    view = view_of(KEY, number)
    found = seen(np.full((90, 120, 3), 100, np.uint8), 48, view)
    assert (found == round(100 * view.brightness)).all()  # no black corner
    half = view.side / 2
    assert all(half <= at <= 1 - half for at in view.centre)
    assert 0.8 <= view.side <= 1 and abs(view.angle) <= 8 and abs(view.brightness - 1) <= 0.2


def test_views_are_many_and_always_the_same() -> None:
    views = [view_of(KEY, number) for number in range(1, 201)]
    assert len(set(views)) == 200 and views == [view_of(KEY, n) for n in range(1, 201)]
    assert 60 < sum(view.mirrored for view in views) < 140
    assert view_of("cd" * 32, 1) != view_of(KEY, 1)
    assert view_key(KEY, 0) == KEY and len({view_key(KEY, n) for n in range(9)}) == 9
    assert math.isclose(np.mean([view.angle for view in views]), 0, abs_tol=1.5)


def test_view_0_is_the_image_and_others_keep_its_detail(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(picture(200)).save(path)
    assert (decode_view(path, 64, None, key=KEY, number=0) == decode(path, 64)).all()
    view = decode_view(path, 64, None, key=KEY, number=1)
    wanted = seen(picture(200), 64, view_of(KEY, 1))  # from all pixels
    assert view.shape == (64, 64, 3) and view.dtype == np.uint8
    assert np.abs(view.astype(int) - wanted).mean() < 2


def test_each_epoch_draws_a_view_of_each_row() -> None:
    run = a_run(configuration("adam"))
    epochs = [order_of_rows(run, epoch, ROWS) for epoch in range(60)]
    for epoch, rows in enumerate(epochs):
        assert (rows % N == order_of_rows(run, epoch)).all()  # the same rows in the same order
    drawn = np.stack([rows // N for rows in epochs])
    counts = np.bincount(drawn.ravel(), minlength=VIEWS)
    assert counts.min() > 0.9 * drawn.size / VIEWS
    other = a_run(configuration("adam"), seed=12)
    assert (order_of_rows(other, 0, ROWS) // N != drawn[0]).any()


@pytest.fixture(scope="module")
def trainer() -> LocalTrainer:
    return LocalTrainer(TABLE, RULES, size=2)


def test_each_view_has_label_and_weight_of_its_image() -> None:
    weights = np.arange(12, dtype=np.float32)
    images = Examples(
        source=Path("x"), labels=np.arange(12, dtype=np.int32) % 2, class_names=("a", "b"),
        digests=tuple("abcdefghijkl"), sample_weight=weights,
    )  # fmt: skip
    made = {"validation_split": 0.3, "test_split": 0.2, "seed": 1, "split_seed": 1}
    splits = Splits(images, split="stratified", **made)
    views = view_rows(splits, VIEWS)
    features = np.zeros((count_rows(12, views), 2), np.float32)
    table = Data(features, images.labels, 2, splits, views).table
    for row in range(12):
        assert set(table.sample_weight[views[row]]) == {row}
        assert set(table.labels[views[row]]) == {row % 2}


def test_views_train_heads_as_keras_does_on_these_rows(trainer: LocalTrainer) -> None:
    run = a_run(configuration("adam"))
    (found,) = train(trainer, [run])
    plain = train_plainly(run, TABLE, RULES)
    for curve, wanted in zip(found.metrics, plain.metrics, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(curve, wanted, atol=1e-4, rtol=1e-4)


def test_a_run_with_views_goes_on_exactly(trainer: LocalTrainer) -> None:
    whole, half = (a_run(configuration("adam"), epochs=epochs) for epochs in (4, 2))
    (wanted,) = train(trainer, [whole])
    (first,) = train(trainer, [half])
    (rest,) = train(trainer, [whole._replace(state=first.state)])
    joined = np.concatenate([first.metrics.loss, rest.metrics.loss])
    assert (joined == wanted.metrics.loss).all()
    assert all((a == b).all() for a, b in zip(rest.weights, wanted.weights, strict=True))


def test_no_view_of_a_validation_image_trains_and_validation_sees_the_image_itself(
    trainer: LocalTrainer,
) -> None:
    run = a_run(configuration("adam"))
    features = FEATURES.copy()
    features[ROWS[run.validation, 1:]] = np.nan  # whoever looks at one of them is lost
    others = LocalTrainer(TABLE._replace(features=features), RULES, size=2)
    (found,), (wanted,) = train(others, [run]), train(trainer, [run])
    assert (found.metrics.val_loss == wanted.metrics.val_loss).all()
    assert (found.metrics.loss == wanted.metrics.loss).all() and np.isfinite(
        found.metrics.loss
    ).all()


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("random", image_size=32, preprocess="caffe")


def test_features_of_views_are_kept_by_content_and_view(backbone: Backbone, tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(40 + number)).save(path)
    images = load_images(tmp_path / "photos")
    views = np.repeat(np.arange(6)[:, None], 3, axis=1)
    views[:4, 1:] = 6 + np.arange(8).reshape(2, 4).T  # the last two never train
    plain = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    found = extract_features(images, backbone, cache_dir=tmp_path / "cache", views=views)
    assert (found.computed, found.cached, found.features.shape) == (8, 6, (14, 512))
    assert (found.features[:6] == plain.features).all()
    image, key = images.paths[2], images.feature_keys[2]
    pixels = decode_view(image, 32, None, key=key, number=2).astype(np.float32)
    wanted = np.asarray(backbone.model(pixels[None]))[0]
    np.testing.assert_allclose(found.features[views[2, 2]], wanted, rtol=1e-4, atol=1e-3)
    more = extract_features(images, backbone, cache_dir=tmp_path / "cache", views=views[:, :2])
    assert more.computed == 0 and (more.features == found.features[:10]).all()


def test_one_view_is_no_view() -> None:
    run = a_run(configuration("adam"))
    for epoch in range(3):
        assert (order_of_rows(run, epoch, ROWS[:, :1]) == order_of_rows(run, epoch)).all()


@pytest.mark.slow  # as test_search.py has it of images without views
def test_a_study_with_views_goes_on_to_the_same_records(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ["--image-size", "32", "--weights", "random", "--space", "quick", "--max-epochs", "4"]
    study += ["--optimizers", "adam", "--repeats", "1", "--confirm", "1", "--views", "3"]
    study += ["--data", str(picture_folder), "--logs", str(tmp_path), "--name", "views"]
    study += ["--cache-dir", str(tmp_path / "cache")]
    assert main(study) == 0
    printed = capsys.readouterr().out
    assert "one of 3 views of each image" in printed
    test = load_meta(tmp_path / "views").split_sizes["test"]
    assert f"{36 + 2 * (36 - test)} images computed" in printed  # no view of a test image
    trials = tmp_path / "views" / "trials.jsonl"
    whole = {r.trial_id: replace(r, seconds=0.0) for r in load_trials(trials.parent)}
    lines = trials.read_bytes().splitlines(keepends=True)
    trials.write_bytes(b"".join(lines[: len(lines) // 2]))
    assert main(study) == 0
    assert {r.trial_id: replace(r, seconds=0.0) for r in load_trials(trials.parent)} == whole
    assert main([*study[:-2], "--views", "2"]) == 2
    assert "views 3 -> 2" in capsys.readouterr().err
    report = (trials.parent / "report" / "report.md").read_text(encoding="utf-8")
    assert "of 3 views of each training image, one per epoch" in report
