"""Views of an image: their pixels, and that heads train on them as they should."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_population import DATA, MAX_EPOCHS, N_CLASSES, a_run, configuration, train

from study.images.pixels.decoding import decode
from study.images.pixels.views import View, decode_view, seen, view_key, view_of
from study.training.plain_keras import train_plainly
from study.training.population import Population
from study.training.runs import order_of_rows

KEY = "ab" * 32
AS_IT_IS = View(mirrored=False, angle=0.0, side=1.0, centre=(0.5, 0.5), brightness=1.0)
N, VIEWS = len(DATA.labels), 3
NOISE = np.random.default_rng(7).normal(scale=0.1, size=(VIEWS - 1, *DATA.features.shape))
FEATURES = np.concatenate([DATA.features, *(DATA.features + NOISE)]).astype(np.float32)
LABELS = np.tile(DATA.labels, VIEWS)
ROWS = np.arange(N * VIEWS, dtype=np.int32).reshape(VIEWS, N).T  # (N, VIEWS)


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
def test_a_view_lies_inside_its_image(number: int) -> None:
    view = view_of(KEY, number)
    found = seen(np.full((90, 120, 3), 100, np.uint8), 48, view)
    assert (found == round(100 * view.brightness)).all()  # no corner from outside
    assert view.side >= 0.75 and abs(view.angle) <= 8 and abs(view.brightness - 1) <= 0.2


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
def trainer() -> Population:
    return Population(
        FEATURES, LABELS, N_CLASSES, max_epochs=MAX_EPOCHS, size=2, views=ROWS
    )  # fmt: skip


def test_views_train_heads_as_keras_does_on_these_rows(trainer: Population) -> None:
    run = a_run(configuration("adam"))
    (found,) = train(trainer, [run])
    plain = train_plainly(run, FEATURES, LABELS, N_CLASSES, max_epochs=MAX_EPOCHS, views=ROWS)
    for curve, wanted in zip(found.metrics, plain.metrics, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(curve, wanted, atol=1e-4, rtol=1e-4)


def test_a_run_with_views_goes_on_exactly(trainer: Population) -> None:
    whole, half = (a_run(configuration("adam"), epochs=epochs) for epochs in (4, 2))
    (wanted,) = train(trainer, [whole])
    (first,) = train(trainer, [half])
    (rest,) = train(trainer, [whole._replace(state=first.state)])
    joined = np.concatenate([first.metrics.loss, rest.metrics.loss])
    assert (joined == wanted.metrics.loss).all()
    assert all((a == b).all() for a, b in zip(rest.best_weights, wanted.best_weights, strict=True))


def test_no_view_of_a_validation_image_trains_and_validation_sees_the_image_itself(
    trainer: Population,
) -> None:
    run = a_run(configuration("adam"))
    features = FEATURES.copy()
    features[ROWS[run.validation, 1:]] = np.nan  # whoever looks at one of them is lost
    others = Population(features, LABELS, N_CLASSES, max_epochs=MAX_EPOCHS, size=2, views=ROWS)
    (found,), (wanted,) = train(others, [run]), train(trainer, [run])
    assert (found.metrics.val_loss == wanted.metrics.val_loss).all()
    assert (found.metrics.loss == wanted.metrics.loss).all() and np.isfinite(
        found.metrics.loss
    ).all()


def test_one_view_is_no_view() -> None:
    run = a_run(configuration("adam"))
    for epoch in range(3):
        assert (order_of_rows(run, epoch, ROWS[:, :1]) == order_of_rows(run, epoch)).all()
