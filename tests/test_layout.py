"""Where the classes of a folder lie: divisions, archives one folder deeper, and what is asked."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.errors import UserError
from study.data import main
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.overview import overview
from study.data.splits.study_splits import Splits


def fill(folder: Path, **numbers: int) -> Path:
    """Write so many different images of each class into `folder`."""
    for name, count in numbers.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng().integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def divided(root: Path, *names: str) -> Path:
    for name in names:
        fill(root / name, cats=6, dogs=6)
    return root


def splits(images: ImageSet, split: str = "stratified", test_split: float = 0.2) -> Splits:
    return Splits(
        images, split=split, validation_split=0.25, test_split=test_split, seed=3, split_seed=12
    )


def names(images: ImageSet, rows: np.ndarray) -> set[str]:
    """Of the folders that hold these rows."""
    return {images.paths[row].relative_to(images.root).parts[0] for row in rows}


DIVISIONS = [
    ("train", "val", "test"),
    ("Train", "Val ", "TEST"),
    ("training", "validation", "testing"),
    ("training_set", "dev", "test_set"),
    ("seg_train", "valid", "seg_test"),
]


@pytest.mark.parametrize("parts", DIVISIONS)
def test_the_parts_of_a_divided_folder_are_no_classes(tmp_path: Path, parts: tuple[str, ...]):
    images = load_images(divided(tmp_path, *parts))
    assert images.class_names == ("cats", "dogs")
    assert np.bincount(images.labels).tolist() == [18, 18]
    for part, name in zip(("train", "validation", "test"), parts, strict=True):
        assert names(images, images.of_part(part)) == {name}
        assert len(images.of_part(part)) == 12


def test_the_test_folder_is_the_test_set_and_the_rest_is_drawn_anew(tmp_path: Path):
    images = load_images(divided(tmp_path, "train", "val", "test"))
    drawn = splits(images)
    found = [
        drawn(purpose, n, k) for purpose in ("search", "confirm") for n in (0, 1) for k in (0, 1)
    ]
    assert len({split.digest for split in found}) == 8
    for split in found:
        assert split.test.tolist() == images.of_part("test").tolist()
        assert "test" not in names(images, split.train) | names(images, split.validation)
        assert np.bincount(images.labels[split.validation]).tolist() == [3, 3]  # a quarter of 12
        assert len(split.train) == 18
        assert split.train.dtype == split.validation.dtype == split.test.dtype == np.int32
    assert {"train", "val"} == set.union(*(names(images, split.validation) for split in found))
    assert "the test set is the folder test as it is, so `test_split` does not" in drawn.origin
    assert drawn.warnings(several=True) == ["only 6 validation images: one is 16.7 % of them"]


def test_folders_are_kept_as_they_are_when_asked_for(tmp_path: Path):
    images = load_images(divided(tmp_path, "train", "val", "test"))
    kept = splits(images, "folders")
    for split in (kept("search", 0), kept("confirm", 4, 2)):
        assert [names(images, rows) for rows in split] == [{"train"}, {"val"}, {"test"}]
        assert [len(rows) for rows in split] == [12, 12, 12]
    assert kept.origin == "the folders train, val, test as they are, the same for all repeats"
    assert "all repeats share one split" in kept.warnings(several=True)[0]
    assert kept.warnings(several=False) == []


def test_a_division_without_a_test_folder_gets_a_test_set_drawn(tmp_path: Path):
    images = load_images(divided(tmp_path, "train", "dev"))
    split = splits(images, test_split=0.25)("search", 0)
    assert [len(rows) for rows in split] == [12, 6, 6]
    assert len(splits(images, "folders")("search", 0).test) == 0


def test_folders_without_the_parts_they_need_are_refused_by_name(tmp_path: Path):
    images = load_images(divided(tmp_path / "a", "train", "test"))
    assert len(splits(images)("search", 0).validation) == 4
    with pytest.raises(
        UserError, match=r"`split` folders needs a folder val alongside train, but .*/a"
    ):
        splits(images, "folders")
    with pytest.raises(UserError, match=r"`split` keras would mix the parts that .*/a is divided"):
        splits(images, "keras", test_split=0.0)
    plain = load_images(fill(tmp_path / "b", cats=3, dogs=3))
    with pytest.raises(UserError, match=r"`split` folders .*/b has none: use"):
        splits(plain, "folders")


def test_copies_of_test_images_are_never_trained_on(tmp_path: Path):
    root = divided(tmp_path, "train", "val", "test")
    copy = (root / "test" / "cats" / "0.png").read_bytes()
    for place in ("train/cats", "train/dogs"):
        (root / place / "copy.png").write_bytes(copy)
    images = load_images(root)
    drawn = splits(images)
    used = np.concatenate([drawn("search", 0).train, drawn("search", 0).validation])
    assert len(used) == 24 and all(images.paths[row].name != "copy.png" for row in used)
    said = (
        "1 test image has copies in train, such as test/cats/0.png and train/cats/copy.png: these "
        "2 are left out there"
    )
    assert drawn.warnings(several=False)[0] == said
    (found,) = splits(images, "folders").warnings(several=False)
    assert found.startswith("copied outside the test folder: 1 test image, so the test accuracy")
    lines = overview(images).splitlines()
    assert f"warning: {said}" in lines
    fate = "3 images in all, which a stratified split judges in the test folder and leaves out "
    assert any(line.endswith(f"{fate}elsewhere") for line in lines)


def test_content_of_two_classes_in_train_alone_is_said_to_be_trained_on(tmp_path: Path):
    root = divided(tmp_path, "train", "test")
    for name in ("cats", "dogs"):
        shutil.copy(root / "train" / "cats" / "0.png", root / "train" / name / "same.png")
        shutil.copy(root / "test" / "cats" / "0.png", root / "train" / name / "tested.png")
    images = load_images(root)
    assert images.fate_of_conflicts == (
        "which a stratified split only trains on, but for 1 group, which it judges in the test "
        "folder and leaves out elsewhere"
    )
    rows = {path.name: row for row, path in enumerate(images.paths)}
    now = splits(images)("search", 0)
    assert rows["same.png"] in now.train
    assert rows["tested.png"] not in np.concatenate([now.train, now.validation])


def test_the_look_says_what_a_search_refuses_or_warns_of(tmp_path: Path):
    lines = overview(load_images(fill(tmp_path / "few", cats=9, dogs=2))).splitlines()
    with pytest.raises(UserError) as refused:
        Splits(load_images(tmp_path / "few"))
    assert f"warning: a search would refuse this: {refused.value}" in lines
    assert "class dogs in " in str(refused.value) and "2 distinct images" in str(refused.value)
    lines = overview(load_images(fill(tmp_path / "single", cats=60, dogs=3))).splitlines()
    assert "warning: only 1 training image of dogs" in lines
    images = load_images(fill(tmp_path / "small", cats=20, dogs=20))
    images = replace(images, groups=("day one",) * 18 + ("", "") + ("day one",) * 18 + ("", ""))
    assert [one for one in overview(images).splitlines() if "only 2" in one] == [
        f"warning: only 2 {part} images (8 were asked for, but groups stay whole): one is "
        "50.0 % of them"
        for part in ("validation", "test")
    ]


def test_the_fingerprint_holds_the_division(tmp_path: Path):
    root = divided(tmp_path, "train", "val", "test")
    before = load_images(root).fingerprint
    (root / "val").rename(root / "Validation")
    assert load_images(root).fingerprint == before
    (root / "test" / "cats" / "5.png").rename(root / "train" / "cats" / "moved.png")
    assert load_images(root).fingerprint != before
    inside = load_images(fill(tmp_path / "alone", cats=2, dogs=2))
    assert inside.fingerprint == replace(inside, notes=("any",), parts=()).fingerprint
    assert inside.fingerprint != replace(inside, parts=("train",) * 4).fingerprint


def test_a_class_of_some_parts_only_is_named(tmp_path: Path):
    root = divided(tmp_path, "train", "test")
    fill(root / "train", birds=4)
    images = load_images(root)
    assert images.class_names == ("birds", "cats", "dogs")
    assert splits(images).warnings(several=False)[1:] == ["the test folder has no image of birds"]
    fill(root / "test", fish=2, frogs=2)
    with pytest.raises(UserError, match="has no training image of fish, frogs: put some"):
        load_images(root)


def test_what_lies_beside_the_parts_is_named_and_left_out(tmp_path: Path):
    root = divided(tmp_path, "train", "val")
    fill(root / "seg_pred", **{".": 3})
    fill(root, test=2)  # flat: nobody knows its classes
    fill(root, **{".": 1})
    images = load_images(root)
    assert {str(p.path.relative_to(root)): p.reason for p in images.problems} == {
        "0.png": "is not in a class folder",
        "seg_pred": "is not one of the parts train, val",
        "test": "has no class folders named like those of train, so its classes are unknown",
    }
    assert set(images.parts) == {"train", "validation"}


@pytest.mark.parametrize("inner", ["unknown", "test"])
def test_a_test_folder_with_no_classes_is_left_out(tmp_path: Path, inner: str):
    fill(divided(tmp_path, "train", "val") / "test", **{inner: 3})
    images = load_images(tmp_path)
    assert images.class_names == ("cats", "dogs") and images.missing_in("test") == []
    assert [problem.path.name for problem in images.problems] == ["test"]


def test_a_part_that_would_be_lost_whole_is_refused_by_name(tmp_path: Path):
    root = divided(tmp_path, "train", "test")
    for path in [path for path in root.glob("test/*/*") if path.is_file()]:
        path.write_bytes(b"of some camera")
        path.rename(path.with_suffix(".xyz"))
    with pytest.raises(UserError, match=r"^folder test of .* has no usable file \(.* is not in a"):
        load_images(root)


def test_parts_may_be_wrapped_once_more(tmp_path: Path):
    for part in ("training_set", "test_set"):
        fill(tmp_path / "archive" / part / part, cats=3, dogs=3)
    images = load_images(tmp_path)
    assert images.class_names == ("cats", "dogs")
    assert np.bincount(images.labels[images.of_part("test")]).tolist() == [3, 3]
    assert images.notes == (f"using {tmp_path}/archive, the only folder with images in {tmp_path}",)


REFUSED = {
    ("test", "val"): r"holds test, val, but no folder train with class folders to train on: add",
    ("test",): r"holds a folder test, but none to train on: give `data` the folder that also",
    ("train", "dev", "val"): r"holds dev, val, which all mean validation: merge them",
    ("A", "B"): r"same folders inside \(cats, dogs\).* A \(not a part by its name\), B \(not",
    (
        "train_images",
        "test_images",
    ): r"test_images \(looks like test\), train_images \(looks like t",
    ("train", "extra"): r"\(cats, dogs\).*: extra \(not .*\), train \(looks like train\); if",
    (
        "train",
        "test",
        "fold3",
    ): r"\(cats, dogs\).*: fold3 \(not a part by its name\), test \(looks",
    ("2021", "2022", "2023"): r"\(cats, dogs\), so they may be parts of a division and not classes",
}


@pytest.mark.parametrize("parts", REFUSED)
def test_what_may_be_parts_is_asked_about_in_one_sentence(tmp_path: Path, parts: tuple[str, ...]):
    root = divided(tmp_path, *parts)
    with pytest.raises(UserError, match=REFUSED[parts]) as refused:
        load_images(root)
    assert "\n" not in str(refused.value) and f"{root}/" not in str(refused.value)


def test_classes_that_are_each_divided_are_refused_with_the_way_out(tmp_path: Path):
    root = fill(fill(tmp_path, cats=0) / "cats", train=2, test=2).parent
    fill(root / "dogs", train=2, test=2)
    with pytest.raises(UserError, match=r"each divided into test, train: .* train/cats instead of"):
        load_images(root)


def test_folders_within_classes_stay_what_they_are(tmp_path: Path):
    fill(tmp_path / "cats", monday=2, tuesday=2)
    fill(tmp_path / "dogs", wednesday=2, tuesday=2)  # one name that repeats is no division
    fill(tmp_path, train=3)  # a toy, its images directly inside
    images = load_images(tmp_path)
    assert images.class_names == ("cats", "dogs", "train") and images.parts == ()


@pytest.mark.parametrize("wrap", ["dataset", "dataset/images", "train"])
def test_a_folder_around_the_classes_is_passed_through_and_said(tmp_path: Path, wrap: str):
    fill(tmp_path / "data" / wrap, cats=3, dogs=3)
    (tmp_path / "data" / "docs").mkdir()
    (tmp_path / "data" / "docs" / "readme.txt").write_text("no image")
    images = load_images(tmp_path / "data")
    plain = load_images(tmp_path / "data" / wrap)
    assert images.notes and images.notes[0].startswith(f"using {plain.root}, the only folder")
    assert replace(images, notes=()).fingerprint == plain.fingerprint
    assert images.paths == plain.paths and images.root == plain.root


def test_a_link_or_unknown_files_keep_their_neighbour_a_class(tmp_path: Path):
    elsewhere = fill(tmp_path / "elsewhere", cats=2, dogs=2)
    root = fill(tmp_path / "data" / "cats", kittens=2, old=2).parent
    (root / "dogs").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"class dogs in .* link to a folder: --follow-links uses"):
        load_images(root)
    (root / "dogs").unlink()
    (root / "dogs").mkdir()
    (root / "dogs" / "scan.xyz").write_bytes(b"of some camera")
    with pytest.raises(UserError, match=r"class dogs in .*scan\.xyz is not in a supported format"):
        load_images(root)


def test_parts_without_class_folders_are_refused(tmp_path: Path):
    fill(tmp_path, train=3, test=3)
    with pytest.raises(UserError, match="divided into test, train, which hold images but no class"):
        load_images(tmp_path)


def test_doubtful_classes_are_taken_with_a_warning(tmp_path: Path):
    fill(tmp_path / "scenes" / "a", airfield=2, alley=2)
    fill(tmp_path / "scenes" / "b", barn=2, beach=2)
    (warning,) = load_images(tmp_path / "scenes").notes
    assert (
        "the classes (a, b) hold only folders; if those (airfield" in warning
        and "airfield, alley, barn" in warning
    )
    assert load_images(fill(tmp_path / "good", cats=2, dogs=2)).notes == ()


def test_one_class_alone_is_not_opened_for_its_folders(tmp_path: Path):
    fill(tmp_path, cats=2)
    fill(tmp_path / "cats", kittens=2, old=2)
    with pytest.raises(UserError, match="images in only one class folder, cats, but a study needs"):
        load_images(tmp_path)


def test_the_command_counts_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = divided(tmp_path, "Train", "test")
    fill(root / "Train", birds=2)
    assert main(["--data", str(root), "--grid", str(tmp_path / "grid.png")]) == 0
    printed = capsys.readouterr().out
    for words in (
        "      12  cats (6 Train, 6 test)",
        "       2  birds (2 Train, 0 test)",
        "divided into Train 14, test 12: a search",
        "warning: the test folder has no image of birds",
    ):
        assert words in printed
