"""Names of classes (twins, no class, numbers) and of files (masks): what is doubtful is said."""

from pathlib import Path

import numpy as np
import pytest

from study.common.errors import UserError
from study.data.examples import Examples
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.names import class_doubts, mask_pairs

MERGE = "; if they are, move their images into one folder"


def examples(*names: str, each: int = 4, part_noun: str = "folder") -> Examples:
    labels = np.repeat(np.arange(len(names), dtype=np.int32), each)
    digests = tuple(map(str, range(len(labels))))
    return Examples(
        source=Path("x"), labels=labels, class_names=names, digests=digests, part_noun=part_noun
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("Cats", "cats"), "'Cats' 4, 'cats' 4"),
        (("caf\u00e9", "cafe\u0301"), r"'caf\xe9' 4, 'cafe\u0301' 4"),
        (("cat", "cat "), "'cat' 4, 'cat ' 4"),
        (("cat", "cat\u00a0"), r"'cat' 4, 'cat\xa0' 4"),
        (("cat", "c\u0430t"), r"'cat' 4, 'c\u0430t' 4"),
        (("cat", "cat\u200b"), r"'cat' 4, 'cat\u200b' 4"),
        (("cat", "cat (1)", "cat - Copy"), "'cat' 4, 'cat (1)' 4, 'cat - Copy' 4"),
        (("big_cat", "big cat", "Big-Cat"), "'big_cat' 4, 'big cat' 4, 'Big-Cat' 4"),
        (("01", "1", "1.0"), "'01' 4, '1' 4, '1.0' 4"),
    ],
)
def test_names_that_are_written_in_two_ways_are_shown_so_that_they_differ(names, shown):
    assert class_doubts(examples(*names, "dogs")) == [f"may be one class: {shown}{MERGE}"]
    (line,) = class_doubts(examples(*names, "dogs", part_noun="part"))
    assert line.endswith("; if they are, give them one label")


@pytest.mark.parametrize(
    "names",
    [
        ("level (1)", "level (2)"),
        ("-1", "1"),
        ("10", "1 0"),
        ("cats", "cats 2"),
        ("1.01", "1.1"),
        ("photo", "photocopy"),
        tuple(map(str, range(12))),
    ],
)
def test_other_names_raise_no_doubt(names):
    assert class_doubts(examples(*names)) == []


def test_many_twins_are_few_lines():
    lines = class_doubts(examples(*"abcdefgh", *"ABCDEFGH"))
    assert len(lines) == 6 and lines[-1] == "may be one class: 3 more such groups"


def test_names_that_mean_no_class_are_said():
    assert class_doubts(examples("_unlabeled", "cats", "no_label", "Masks")) == [
        "used as a class, but named like unlabelled or rejected ones: _unlabeled, no_label",
        "used as a class, but named like annotations: Masks",
    ]


def test_numbers_to_predict_are_no_classes():
    for made in (
        examples(*(f"{n / 7:.3f}" for n in range(12))),
        examples(*map(str, range(12)), each=2),
    ):
        (line,) = class_doubts(made)
        assert "the labels are 12 different numbers" in line and "(a regression)" in line


def named(*names: str) -> ImageSet:
    made = examples("cats", "dogs", each=len(names) // 2)
    return ImageSet(
        source=Path("x"),
        root=Path("x"),
        paths=tuple(Path("x", name) for name in names),
        labels=made.labels,
        class_names=made.class_names,
        digests=made.digests,
    )


@pytest.mark.parametrize("mask", ["{}_mask.png", "{} (1)_mask_1.png", "{}-gt.jpg", "{}Label.png"])
def test_masks_beside_their_images_are_counted(mask):
    images = [f"{label}/{label} {n}.png" for label in ("cats", "dogs") for n in range(4)]
    masks = [f"{image.split('/')[0]}/{mask.format(image.split('/')[1][:-4])}" for image in images]
    if " (1)" in mask:
        images = [image.replace(".png", " (1).png") for image in images]
    (line,) = mask_pairs(named(*images, *masks))
    first = masks[0].split("/")[1]
    assert line.startswith(f"8 of 16 images are named like masks of others, such as {first} beside")
    assert mask_pairs(named(*masks)) == mask_pairs(named(*images)) == []


def test_folders_of_masks_inside_classes_are_counted():
    names = [f"{c}/{kind}/{n}.png" for c in "ab" for kind in ("images", "masks") for n in range(3)]
    (line,) = mask_pairs(named(*names))
    assert line.startswith("6 of 12 images are named like masks of others, such as a/masks/0.png: ")


def test_a_twin_is_named_where_a_class_has_nothing_to_train_on(tmp_path, picture_folder):
    for part, name in (("train", "cats"), ("train", "dogs"), ("test", "cats"), ("test", "Dogs ")):
        (tmp_path / part / name).mkdir(parents=True)
        (tmp_path / part / name / "0.png").write_bytes(
            (picture_folder / "circles" / "00.png").read_bytes()
        )
    with pytest.raises(
        UserError, match=r"no training image of Dogs .*; may be one class: 'Dogs ' "
    ):
        load_images(tmp_path)
