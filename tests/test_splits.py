"""Splits: shares, copies kept together, the same seed the same rows, and Keras's own assignment."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from study.common.errors import UserError
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.splits.one_split import Split, keras_split, set_aside_test, stratified_split
from study.data.splits.study_splits import Splits


def image_set(classes: list[list[str]]) -> ImageSet:
    """Images by class, each named by its content."""
    labels = [label for label, contents in enumerate(classes) for _ in contents]
    return ImageSet(
        source=Path("data"),
        root=Path("data"),
        paths=tuple(Path(f"data/{label}/{row}") for row, label in enumerate(labels)),
        labels=np.array(labels, dtype=np.int32),
        class_names=tuple(f"class{label}" for label in range(len(classes))),
        digests=tuple(content for contents in classes for content in contents),
    )


def plain(*counts: int) -> ImageSet:
    return image_set([[f"{label}/{i}" for i in range(n)] for label, n in enumerate(counts)])


def split(images: ImageSet, test: float, validation: float, seed: int = 1) -> Split:
    held = set_aside_test(images, test, seed=seed)
    return stratified_split(images, held, validation, seed=seed)


def test_the_faces_give_three_training_photos_a_person():
    images = load_images(None)
    parts = split(images, 0.3, 0.4)
    assert [np.bincount(images.labels[part]).tolist() for part in parts] == [
        [3] * 40,
        [4] * 40,
        [3] * 40,
    ]
    assert all(part.dtype == np.int32 for part in parts)


def test_the_seed_decides_and_nothing_else():
    images = plain(20, 30)
    assert split(images, 0.2, 0.2).digest == split(images, 0.2, 0.2).digest
    assert split(images, 0.2, 0.2).digest != split(images, 0.2, 0.2, seed=2).digest
    held = set_aside_test(images, 0.2, seed=1)
    first, second = (stratified_split(images, held, 0.2, seed=seed) for seed in (1, 2))
    assert np.array_equal(first.test, second.test)
    assert not np.array_equal(first.validation, second.validation)
    assert len(first.digest) == 16


def test_another_class_does_not_move_the_rows_of_the_first():
    parts, more = split(plain(20, 30), 0.2, 0.2), split(plain(20, 35, 9), 0.2, 0.2)
    for part, other in zip(parts, more, strict=True):
        assert part[part < 20].tolist() == other[other < 20].tolist()


@pytest.mark.parametrize("seed", [0, -1])
def test_a_seed_that_is_not_positive_is_refused(seed):
    for function in (
        lambda: set_aside_test(plain(9, 9), 0.2, seed=seed),
        lambda: stratified_split(plain(9, 9), np.array([], np.int32), 0.2, seed=seed),
        lambda: keras_split(plain(9, 9), 0.2, seed=seed),
    ):
        with pytest.raises(ValueError, match="seed must be a positive whole number"):
            function()


def test_content_of_two_classes_is_trained_on_and_never_evaluated():
    images = image_set([["a", "b", "c", "same"], ["d", "e", "f", "same", "same"]])
    for seed in range(1, 30):
        assert {3, 7, 8} <= set(split(images, 0.3, 0.3, seed).train.tolist())


contents = st.lists(st.integers(0, 25), min_size=1, max_size=40)


@settings(max_examples=300)
@given(
    classes=st.lists(contents, min_size=2, max_size=5),
    shared=st.lists(st.integers(0, 3), max_size=3),
    test=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    validation=st.sampled_from([0.1, 0.2, 0.39]),
    seed=st.integers(1, 2**32),
)
def test_parts_are_whole_disjoint_stratified_and_keep_copies_together(
    classes, shared, test, validation, seed
):
    named = [[f"{label}/{i}" for i in {0, 1, 2} | set(c)] for label, c in enumerate(classes)]
    named = [own + [f"{label}/{i}" for i in c[:9]] for (label, c), own in zip(
        enumerate(classes), named, strict=True)]  # fmt: skip
    for label in range(2):
        named[label] += [f"shared/{i}" for i in shared]
    images = image_set(named)
    try:
        parts = split(images, test, validation, seed)
    except UserError as error:  # copies can make the test set larger than asked for
        assert "leave nothing to train on" in str(error)
        return
    rows = np.concatenate(parts)
    assert sorted(rows.tolist()) == list(range(len(images.paths)))
    sides = [{images.digests[row] for row in part} for part in parts]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    for part in parts:
        if len(part) or part is not parts.test:
            assert set(images.labels[part].tolist()) == set(range(len(named)))
    assert (len(parts.test) == 0) == (test == 0)


@settings(max_examples=100)
@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=6),
    test=st.sampled_from([0.0, 0.1, 0.3]),
    validation=st.sampled_from([0.1, 0.25, 0.4]),
)
def test_every_class_gives_its_share_of_all_its_images(counts, test, validation):
    images = plain(*counts)
    parts = split(images, test, validation)
    for fraction, part in ((test, parts.test), (validation, parts.validation)):
        given_rows = np.bincount(images.labels[part], minlength=len(counts))
        assert np.all(np.abs(given_rows - fraction * np.array(counts)) <= 0.5 + 1e-6)


def test_too_few_images_of_a_class_are_refused_by_name():
    few = image_set([["a", "b", "c"], ["d", "e", "e"]])
    with pytest.raises(
        UserError,
        match="class class1 in data has 2 distinct images of its own, but training, validation and "
        "test need at least 3: add images or remove the class",
    ):
        set_aside_test(few, 0.3, seed=1)
    none = set_aside_test(few, 0.0, seed=1)
    assert len(stratified_split(few, none, 0.3, seed=1).validation) == 2
    with pytest.raises(UserError, match="1 distinct image of its own, but training and valid"):
        stratified_split(image_set([["a", "b"], ["c", "c"]]), none, 0.3, seed=1)


def test_fractions_out_of_range_are_refused_by_option():
    images = plain(10, 10)
    none = np.array([], dtype=np.int32)
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="`test_split` must be at least 0 and below 1, but is"):
            set_aside_test(images, fraction, seed=1)
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(UserError, match="`validation_split` must be between 0 and 1, but is"):
            stratified_split(images, none, fraction, seed=1)
        with pytest.raises(UserError, match="`validation_split` must be between 0 and 1, but is"):
            keras_split(images, fraction, seed=1)
    held = set_aside_test(images, 0.5, seed=1)
    with pytest.raises(UserError, match=r"0\.5 and a test set of 50% .* leave nothing to train on"):
        stratified_split(images, held, 0.5, seed=1)


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """90 images of four classes with nested folders and odd names, and files of other kinds."""
    names = ["a b", "Z", "é", "10", "9", "漢字", "x'y", "UPPER.JPG", "<b>", "n\nl"]
    for label, name in enumerate(["dogs", "Cats", "10", "9 lives"]):
        for number in range(22 + label):
            place = tmp_path / name / ("", "deep", "deep/er", ".hidden")[number % 4 if label else 0]
            place.mkdir(parents=True, exist_ok=True)
            kind = (".png", ".jpg", ".bmp", ".gif", ".jpeg")[number % 5]
            pixels = np.random.default_rng((label, number)).integers(0, 256, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{names[number % 10]}{number}{kind}")
    (tmp_path / "Cats" / "cut.png").touch()
    (tmp_path / "Cats" / "._mac.jpg").write_bytes(b"\0")
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    (tmp_path / "empty class").mkdir()
    return tmp_path


@pytest.mark.parametrize(("seed", "fraction"), [(12, 0.2), (7, 0.35)])
def test_keras_split_is_keras_own_file_by_file(odd_folder, seed, fraction):
    import keras

    both = keras.utils.image_dataset_from_directory(
        odd_folder, validation_split=fraction, subset="both", seed=seed, image_size=(4, 4)
    )
    keras_training, keras_validation = (set(part.file_paths) for part in both)
    images = load_images(odd_folder)
    parts = keras_split(images, fraction, seed=seed)
    names = {str(path) for path in images.paths}
    assert len(names) > 50
    assert {str(images.paths[row]) for row in parts.train} == keras_training & names
    assert {str(images.paths[row]) for row in parts.validation} == keras_validation & names
    assert len(parts.test) == 0


def test_images_that_keras_does_not_list_are_divided_apart(odd_folder):
    before = load_images(odd_folder)
    parts = keras_split(before, 0.2, seed=12)
    validation = {before.paths[row] for row in parts.validation}
    for number in range(10):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(odd_folder / "dogs" / f"{number}.webp")
    after = load_images(odd_folder)
    parts = keras_split(after, 0.2, seed=12)
    new = {after.paths[row] for row in parts.validation} - validation
    assert len(new) == 2
    assert {path.suffix for path in new} == {".webp"}
    splits = Splits(after, split="keras", validation_split=0.2, test_split=0, seed=1, split_seed=12)
    assert splits.origin == (
        "Keras's own, the same for all repeats; but Keras itself would leave out 10 images, such "
        "as 0.webp, which are divided apart by the same rule"
    )
    assert len(parts.train) + len(parts.validation) == len(after.paths)


def test_the_faces_can_be_split_like_keras():
    assert [len(part) for part in keras_split(load_images(None), 0.2, seed=12)] == [320, 80, 0]


def test_too_few_images_for_keras_split_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4), (ord(name), 0, 0)).save(tmp_path / name / "x.png")
    with pytest.raises(UserError, match=r"2 images are too few for Keras's split with `valid"):
        keras_split(load_images(tmp_path), 0.2, seed=12)
