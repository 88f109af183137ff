"""What tells a class without the picture is named; ordinary data raise no doubt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.data.doubts import doubts
from study.data.load_images import load_images
from study.data.shortcuts import guess_from, shortcuts


def photo(path: Path, number: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 16)
    (image.convert(mode) if mode in ("L", "P") else image).save(path)


def folder_of(place: Path, classes: dict[str, tuple[str, str]], count: int = 8) -> Path:
    """Classes with the suffix and the mode of their images."""
    for at, (name, (suffix, mode)) in enumerate(classes.items()):
        for number in range(count):
            photo(place / name / f"{number}{suffix}", 100 * at + number, mode=mode)
    return place


@pytest.mark.parametrize(
    ("cats", "dogs", "fact", "words"),
    [
        ((".png", "RGB"), (".jpg", "RGB"), "format", "cats PNG 8, dogs JPEG 8"),
        ((".png", "RGB"), (".png", "L"), "mode", "cats RGB 8, dogs L 8"),
    ],
)
def test_a_class_that_is_stored_otherwise_is_named(tmp_path, cats, dogs, fact, words):
    images = load_images(folder_of(tmp_path, {"cats": cats, "dogs": dogs}))
    (sentence,) = shortcuts(images)
    assert sentence.startswith(
        f"the {fact} alone predicts the class of 100% of the images (always predicting cats: 50%); "
        f"{words}"
    )
    assert sentence in doubts(images)


def test_sizes_that_do_not_overlap_are_named(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(12):
        for name, low in (("cats", 20), ("dogs", 60)):
            width, height = rng.integers(low, low + 12, 2).tolist()
            photo(tmp_path / name / f"{number}.png", number + low, (width, height))
    (sentence,) = shortcuts(load_images(tmp_path))
    assert sentence.startswith("the size alone predicts the class of 100% of the images")
    assert "cats 20 to 31 (median " in sentence


def test_one_class_of_many_is_named(tmp_path):
    classes = {
        name: (".jpg", "L" if name == "owls" else "RGB") for name in ("elks", "owls", "rays")
    }
    classes |= {f"class{number}": (".jpg", "RGB") for number in range(4)}
    (sentence,) = shortcuts(load_images(folder_of(tmp_path, classes)))
    assert sentence.startswith(
        "the mode alone distinguishes owls from the others (always predicting "
    )
    assert "class0 RGB 8, class1 RGB 8" in sentence


def test_twelve_bits_beside_sixteen_are_named(tmp_path):
    rng = np.random.default_rng(3)
    for number in range(8):
        for name, white in (("cats", 4095), ("dogs", 60000)):
            values = rng.permutation(np.linspace(0, white, 64)).astype(np.uint16).reshape(8, 8)
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / name / f"{number}.png")
    (sentence,) = shortcuts(load_images(tmp_path))
    assert sentence.startswith("the depth alone predicts the class of 100% of the images")
    assert "cats 12 bits 8, dogs 16 bits 8" in sentence


def test_equal_ways_of_storing_and_free_sizes_raise_no_doubt(tmp_path):
    rng = np.random.default_rng(2)
    for number in range(20):
        for name in ("cats", "dogs"):
            size = tuple(rng.integers(16, 64, 2).tolist())
            suffix = (".png", ".jpg")[int(rng.integers(2))]
            mode = ("RGB", "L")[int(rng.integers(2))]
            photo(tmp_path / name / f"{number}{suffix}", int(rng.integers(1 << 30)), size, mode)
    assert shortcuts(load_images(tmp_path)) == []


def test_four_images_a_class_are_too_few_to_say(tmp_path):
    classes = {"cats": (".png", "RGB"), "dogs": (".jpg", "RGB")}
    assert shortcuts(load_images(folder_of(tmp_path, classes, count=4))) == []
    assert shortcuts(load_images(folder_of(tmp_path, classes, count=5)))


@pytest.mark.parametrize("count", [8, 20, 100])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kinds", [2, 3, 1000])
def test_values_that_have_nothing_to_do_with_the_class_are_passed_over(count, classes, kinds):
    rng = np.random.default_rng(count * classes * kinds)
    cries = 0
    for _ in range(200):
        labels = rng.integers(0, classes, count)
        labels[:classes] = range(classes)
        values = rng.integers(0, kinds, count).tolist()
        found = guess_from("size", values, labels, np.arange(count))
        cries += found.strong or bool(found.found)
    assert cries <= 1  # seen: at most 2 in 1,000


def test_images_that_stand_together_do_not_vouch_for_each_other():
    """Eight subjects, each with a size of its own and ten images."""
    subjects = np.repeat(np.arange(8, dtype=np.int32), 10)
    labels = subjects % 2
    alone = guess_from("size", subjects.tolist(), labels, np.arange(80))
    together = guess_from("size", subjects.tolist(), labels, subjects)
    assert (alone.strong, alone.accuracy) == (True, 1.0)
    assert (together.strong, together.found) == (False, ())


def test_unbalanced_classes_are_compared_with_always_saying_the_largest():
    labels = np.array([0] * 95 + [1] * 5)
    same = guess_from("mode", ["L"] * 100, labels, np.arange(100))
    assert (same.accuracy, same.strong, same.found) == (0.95, False, ())
    apart = guess_from("mode", ["L"] * 95 + ["RGB"] * 5, labels, np.arange(100))
    assert (apart.accuracy, apart.found) == (1.0, (1,))
