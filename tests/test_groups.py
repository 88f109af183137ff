"""What belongs together never parts: groups, near copies, both in several classes at once."""

import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from study.common.errors import UserError
from study.data import main
from study.data.doubts import doubts
from study.data.examples import Examples
from study.data.load_images import load_images
from study.data.splits.one_split import Split, set_aside_test, stratified_split
from study.data.splits.study_splits import Splits

MADE = {"validation_split": 0.25, "test_split": 0.2, "seed": 1, "split_seed": 1}


def examples(labels: list[int], groups: list[str], contents: list[str] | None = None) -> Examples:
    return Examples(
        source=Path("data"),
        labels=np.array(labels, np.int32),
        class_names=tuple(f"class{label}" for label in range(max(labels) + 1)),
        digests=tuple(contents or [f"{row}" for row in range(len(labels))]),
        groups=tuple(groups),
    )


def split(data: Examples, test: float, validation: float, seed: int = 1) -> Split:
    held = set_aside_test(data, test, seed=seed)
    return stratified_split(data, held, validation, seed=seed)


def photo(number: int, side: int = 96) -> Image.Image:
    """A picture with shapes of its own, as photos have."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = small.resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, size = rng.integers(0, side, 3).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw.ellipse((x, y, x + size // 2, y + size // 2), fill=colour)
    return image


def save(image: Image.Image, path: Path, **how: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


@settings(max_examples=300)
@given(
    data=st.data(),
    classes=st.integers(2, 4),
    people=st.integers(6, 20),
    test=st.sampled_from([0.0, 0.1, 0.25]),
    validation=st.sampled_from([0.1, 0.2, 0.4]),
    seed=st.integers(1, 2**32),
)
def test_no_group_stands_on_two_sides_whatever_its_classes(
    data, classes, people, test, validation, seed
):
    """Each person has images of a class of their own and perhaps of others."""
    labels, groups = [], []
    for person in range(people):
        own = person % classes
        others = data.draw(st.lists(st.integers(0, classes - 1), max_size=3))
        for label in [own, *others]:
            labels.append(label)
            groups.append(f"p{person}")
    alone = data.draw(st.lists(st.integers(0, classes - 1), max_size=10))
    made = examples([*labels, *alone], [*groups, *[""] * len(alone)])
    try:
        parts = split(made, test, validation, seed)
    except UserError as error:
        text = str(error)
        assert any(
            words in text
            for words in (
                "that stay together",
                "leave nothing to train on",
                "of several classes: no",
            )
        )
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(made.labels)))
    sides = [{made.groups[row] for row in part} - {""} for part in parts]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    for name, part in zip(Split._fields, parts, strict=True):
        if name != "test" or test:
            assert set(made.labels[part].tolist()) == set(range(classes)), name


def test_a_draw_that_leaves_a_class_out_is_made_anew():
    """Half of the first draws do."""
    people = ["01", "100", "2110", "3230", "0", "1331", "2033"]  # a digit is an image of a class
    made = examples(
        [int(label) for own in people for label in own],
        [f"p{number}" for number, own in enumerate(people) for _ in own],
    )
    for seed in range(1, 40):
        parts = split(made, 0.2, 0.2, seed)
        assert all(set(made.labels[part].tolist()) == {0, 1, 2, 3} for part in parts)


def test_groups_that_no_draw_can_divide_are_refused():
    made = examples([0, 1, 0, 2, 1, 2], ["a", "a", "b", "b", "c", "c"])
    with pytest.raises(UserError, match="too many groups have images of several classes: no valid"):
        split(made, 0.0, 0.3)


def test_groups_of_all_classes_give_about_their_share():
    labels = [row % 3 for row in range(300)]
    made = examples(labels, [f"p{row // 6}" for row in range(300)])  # 50 people, 6 images each
    for seed in range(1, 30):
        parts = split(made, 0.2, 0.2, seed)
        assert np.bincount(made.labels[parts.test]).tolist() == [20, 20, 20]
        assert np.bincount(made.labels[parts.validation]).tolist() == [20, 20, 20]


def test_a_draw_of_large_groups_comes_near_its_share_and_is_another_every_time():
    made = examples([0] * 40 + [1] * 40, [f"{row // 5}" for row in range(80)])
    drawn = [split(made, 0.0, 0.2, seed).validation for seed in range(1, 40)]
    assert {len(rows) for rows in drawn} == {20}  # 10 are nearer to 8 than 5
    assert len({rows.tobytes() for rows in drawn}) > 30
    few = examples([0] * 30 + [1] * 30, [f"{row // 10}" for row in range(60)])
    chosen = {split(few, 0.0, 0.1, seed).validation.tobytes() for seed in range(1, 40)}
    assert len(chosen) == 9  # any of three in both classes, though each is larger than asked for


def test_content_of_two_classes_and_what_belongs_to_it_is_trained_on():
    made = examples(
        [0, 0, 0, 0, 1, 1, 1, 1],
        ["a", "b", "c", "d", "d", "e", "f", "g"],
        ["1", "2", "3", "x", "y", "5", "6", "x"],
    )
    for seed in range(1, 30):
        assert {3, 4, 7} <= set(split(made, 0.0, 0.3, seed).train.tolist())


def test_the_split_says_what_is_never_judged():
    made = examples([0] * 9 + [1] * 9, [""] * 18, [*"abcdefghx", *"mnopqrstx"])
    splits = Splits(made, split="stratified", **MADE)
    assert splits.origin == (
        "training and validation images are drawn afresh for every repeat; 2 images with content "
        "of several classes are only trained on"
    )


def test_too_few_groups_are_refused_by_class():
    made = examples([0] * 9 + [1] * 9, [f"{row // 5}" for row in range(18)])
    with pytest.raises(
        UserError,
        match="class class0 in data has 2 groups of images that stay together, but training, "
        "validation and test need at least 3: add images of other groups or remove the class, or",
    ):
        split(made, 0.2, 0.2)
    one = examples([0] * 4 + [1] * 4, ["a"] * 8)
    with pytest.raises(
        UserError, match=r"class0 .* 1 group of images that stay together, but training"
    ):
        split(one, 0.0, 0.2)


@pytest.fixture
def bursts(tmp_path: Path) -> Path:
    """Three classes of eight subjects, each in five shots that hardly differ."""
    for number, label in enumerate(("birds", "cats", "dogs")):
        for subject in range(8):
            image = photo(100 * number + subject)
            for shot in range(5):
                place = tmp_path / "bursts" / label / f"subject{subject}_{shot}.jpg"
                save(image, place, quality=50 + 10 * shot)
    return tmp_path / "bursts"


def test_shots_of_one_subject_are_found_by_their_look(bursts):
    images = load_images(bursts)
    assert [len(rows) for rows in images.near] == [5] * 24
    splits = Splits(images, split="stratified", **MADE)
    for repeat in range(10):
        now = splits("search", repeat)
        sides = [{images.paths[row].as_posix()[:-6] for row in part} for part in now]
        assert sum(map(len, sides)) == 24
    line = doubts(images)[-1]
    assert line.startswith("nearly the same image: 21 more such groups; 120 images in all; a strat")
    kept = load_images(bursts, near_duplicates="keep")
    assert not kept.near and kept.fingerprint == images.fingerprint
    assert len(set(kept.units.tolist())) == 120


ALTERED = {
    "another JPEG": lambda image: image,
    "half the size": lambda image: image.resize((48, 48), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.8),
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_copies_that_were_changed_a_little_are_found_and_other_photos_are_not(tmp_path, change):
    for number in range(40):
        image = photo(number)
        label = ("cats", "dogs")[number % 2]
        save(image, tmp_path / "data" / label / f"{number}.png")
        if number < 20:
            save(change(image), tmp_path / "data" / label / f"{number}-copy.jpg", quality=80)
    images = load_images(tmp_path / "data")
    found = [{images.paths[row].name.split(".")[0] for row in rows} for rows in images.near]
    assert sorted(map(sorted, found)) == sorted([f"{n}", f"{n}-copy"] for n in range(20))


def test_what_only_looks_alike_in_grey_or_is_flat_is_no_copy(tmp_path):
    colours = {"red": (200, 60, 60), "blue": (60, 60, 200), "green": (60, 130, 60)}
    for label, colour in colours.items():
        for number in range(5):
            image = Image.new("RGB", (64, 64), "white")
            ImageDraw.Draw(image).ellipse((20 + number, 20, 45, 45), fill=colour)
            save(image, tmp_path / "data" / label / f"{number}.png")
            flat = Image.new("RGB", (64, 64), (10 * number, *colour[1:]))
            save(flat, tmp_path / "data" / label / f"flat{number}.png")
    images = load_images(tmp_path / "data")
    for rows in images.near:
        assert len({images.labels[row] for row in rows}) == 1
        assert not any("flat" in images.paths[row].name for row in rows)


def test_the_faces_have_no_near_copies():
    assert load_images(None).near == ()


def test_near_copies_in_several_classes_are_judged_and_said(tmp_path):
    for number in range(16):
        label = ("cats", "dogs")[number % 2]
        save(photo(number), tmp_path / "data" / label / f"{number}.png")
    for number in range(2):  # each once more in the other class, saved again
        save(photo(number), tmp_path / "data" / ("dogs", "cats")[number] / "copy.jpg", quality=70)
    images = load_images(tmp_path / "data")
    assert len(images.near) == 2 and not images.duplicates
    assert "4 images in all, 2 of the groups in several classes" in doubts(images)[-1]
    judged: set[int] = set()
    for seed in range(1, 30):
        splits = Splits(images, split="stratified", **(MADE | {"seed": seed}))
        judged |= set(splits("search", 0).validation.tolist())
    assert {row for rows in images.near for row in rows} <= judged


def test_groups_come_from_folders(tmp_path):
    for label in ("a", "b"):
        for number in range(12):
            save(photo(number + 50 * (label == "b")),
                 tmp_path / "data" / label / f"{label}{number // 3}" / f"{number}.png")  # fmt: skip
    images = load_images(tmp_path / "data")
    assert doubts(images)[-1] == (
        "every class has folders inside (a/a0, a/a1): if each is one subject or scene, "
        "--group subfolder keeps it on one side of every split"
    )
    grouped = load_images(tmp_path / "data", group="subfolder")
    assert len(set(grouped.groups)) == 8 and not doubts(grouped)
    assert grouped.notes == (
        "groups: 8, with 24 images in all, each on one side of every stratified split; the "
        "largest, a0, has 3",
    )
    assert grouped.fingerprint != images.fingerprint


def test_subjects_with_images_of_several_classes_are_asked_about_or_grouped(tmp_path):
    for label in ("benign", "malignant"):
        for number in range(12):
            place = f"patient{number // 3}/{number}.png"
            save(photo(number + 50 * (label == "benign")), tmp_path / "data" / label / place)
    with pytest.raises(
        UserError, match=r"give `group` subfolder if each of them holds one subject$"
    ):
        load_images(tmp_path / "data")
    grouped = load_images(tmp_path / "data", group="subfolder")
    assert set(grouped.groups) == {f"patient{number}" for number in range(4)}
    assert grouped.notes[-1].endswith("has 6; 4 groups with images of several classes")


def test_groups_come_from_file_names(bursts):
    images = load_images(bursts, group_pattern=r"(\w+/subject\d+)_")
    assert images.groups[0] == "birds/subject0" and len(set(images.groups)) == 24
    images = load_images(bursts, group_pattern=r"subject[01]")
    assert set(images.groups) == {"subject0", "subject1", ""}
    assert images.notes[-1] == "in no group, each on its own: 90 images"


REFUSED = [
    ({"group_pattern": "("}, r"`group_pattern` \( is not a regular expression \(missing \)"),
    (
        {"group_pattern": "xyz"},
        "`group_pattern` xyz matches no path of an image, such as birds/subject0_0.jpg",
    ),
    (
        {"group_pattern": "x", "group": "subfolder"},
        "are two ways to set the groups: give only one$",
    ),
    ({"group": "subfolder"}, "`group` subfolder: no class folder in .* has folders inside: give"),
]


def test_near_copies_that_leave_too_few_groups_are_named(tmp_path):
    for label in ("a", "b"):
        for number in range(12):
            grey = np.linspace(number, 200 if label == "a" else 120, 32).astype(np.uint8)
            save(Image.fromarray(np.tile(grey, (32, 1))), tmp_path / label / f"{number}.png")
    with pytest.raises(
        UserError,
        match=r"1 group of images that stay together, but .* at least 3: add images of other "
        "groups or remove the class, or give `near_duplicates` keep if images such as a/0.png and",
    ):
        Splits(load_images(tmp_path))
    assert len(Splits(load_images(tmp_path, near_duplicates="keep"))("search", 0).test) == 4


@pytest.mark.parametrize(("arguments", "expected"), REFUSED)
def test_what_groups_nothing_is_refused(bursts, arguments, expected):
    with pytest.raises(UserError, match=expected):
        load_images(bursts, **arguments)


def test_a_pattern_that_would_take_years_is_refused(bursts, monkeypatch):
    monkeypatch.setattr("study.data.groups.SECONDS", 0.2)
    (bursts / "cats" / "subject0_0.jpg").rename(bursts / "cats" / f"{'a' * 60}!.jpg")
    expected = r"takes longer than 0\.2 s for cats/aaa.*without a repetition inside a repetition"
    with pytest.raises(UserError, match=expected):
        load_images(bursts, group_pattern="(a+)+$")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_table_with_groups_takes_no_others(bursts):
    lines = [f"cats/subject{n}_0.jpg,{'ab'[n % 2]},g{n}" for n in range(8)]
    (bursts / "labels.csv").write_text("file,label,group\n" + "\n".join(lines))
    with pytest.raises(UserError, match="already has a column group: drop `group` and"):
        load_images(None, labels=bursts / "labels.csv", group_pattern="g")


def test_a_division_that_parts_a_group_is_a_warning(tmp_path):
    for part, shots in (("train", range(4)), ("val", (4,)), ("test", (5,))):
        for label, first in (("a", 0), ("b", 50)):
            for shot in shots:
                for subject in range(4):
                    save(photo(first + subject), tmp_path / "data" / part / label
                         / f"{subject}-{shot}.jpg", quality=50 + 8 * shot)  # fmt: skip
    images = load_images(tmp_path / "data")
    kept = Splits(images, split="folders", **MADE)
    assert kept.warnings(several=False)[:1] == [
        "on several sides of the folders' split: 8 groups of images that belong together, so what "
        "is measured is too high; `split` stratified keeps each on one"
    ]
    with pytest.raises(UserError, match=r"all images of a, b outside the test folder of .* are co"):
        Splits(images, split="stratified", **MADE)("search", 0)


def test_the_command_groups_as_the_search_does(bursts, tmp_path, capsys):
    grid = str(tmp_path / "grid.png")
    given = ["--data", str(bursts), "--grid", grid, "--group-pattern", r"subject(\d)"]
    assert main(given) == 0
    assert "groups: 8, with 120 images in all, each on one side of every" in capsys.readouterr().out
    assert main(["--data", str(bursts), "--grid", grid, "--near-duplicates", "keep"]) == 0
    assert "nearly the same" not in capsys.readouterr().out


def test_links_to_elsewhere_are_used_where_it_is_said(tmp_path):
    for number in range(8):
        save(photo(number), tmp_path / "all" / f"{number}.png")
    for label, numbers in (("a", range(4)), ("b", range(4, 8))):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in numbers:
            place = tmp_path / "data" / label / f"{number}.png"
            place.symlink_to(tmp_path / "all" / f"{number}.png")
    with pytest.raises(UserError, match="leads out of the folder"):
        load_images(tmp_path / "data")
    (tmp_path / "data" / "a" / "more").symlink_to(tmp_path / "all")
    (tmp_path / "data" / "a" / "again").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "round").symlink_to(tmp_path / "data")
    images = load_images(tmp_path / "data", follow_links=True)
    assert {problem.reason for problem in images.problems} == {
        "is a symbolic link to a folder that is used already"
    }
    assert np.bincount(images.labels).tolist() == [12, 4]
    assert len(set(images.seen)) == 8
