"""Tables of labels: what they say is used as it stands, what cannot be true is refused by line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from study.common.errors import UserError
from study.data import main
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.splits.study_splits import Splits


def draw(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images in one folder, with no table yet."""
    for number in range(12):
        draw(tmp_path / "data" / "images" / f"{number:02d}.png", number)
    return tmp_path / "data"


def rows(label: str = "{0}", more: str = "") -> str:
    """A line for each image; half of them cats."""
    lines = [
        f"images/{n:02d}.png,{label.format('cats' if n < 6 else 'dogs')}{more.format(n // 2)}"
        for n in range(12)
    ]
    return "\n".join(lines) + "\n"


def table(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(folder: Path, text: str | bytes) -> ImageSet:
    return load_images(None, labels=table(folder, text))


def names(images: ImageSet) -> list[str]:
    return [path.name for path in images.paths]


def test_a_table_gives_each_file_its_label(folder):
    images = load(folder, "file,label\n" + rows())
    assert images.class_names == ("cats", "dogs")
    assert names(images) == [f"{n:02d}.png" for n in range(12)]
    assert images.labels.tolist() == [0] * 6 + [1] * 6
    assert not images.problems and not images.parts and not images.groups
    assert images.root == folder.resolve() and images.source == folder / "labels.csv"


@pytest.mark.parametrize(
    "text",
    [
        "label;FILE \n" + "\n".join(f"{'ab'[n > 5]};images/{n:02d}.png" for n in range(12)),
        "id\tfile\tlabel\n" + "\n".join(f"7\timages/{n:02d}.png\t{'ab'[n > 5]}" for n in range(12)),
        "﻿file,label\r\n" + "\r\n".join(f'"images/{n:02d}.png","{"ab"[n > 5]}"' for n in range(12)),
        "file,label\n\n" + "\n".join(f" images\\{n:02d}.png , {'ab'[n > 5]} " for n in range(12)),
        "file,label\n" + 2 * "".join(f"images/{n:02d}.png,{'ab'[n > 5]}\n" for n in range(12)),
    ],
    ids=["semicolons", "tabs", "from Excel", "from Windows", "each line twice"],
)
def test_tables_are_read_as_programs_write_them(folder, text):
    images = load(folder, text)
    assert images.class_names == ("a", "b")
    assert images.labels.tolist() == [0] * 6 + [1] * 6


def test_a_table_of_excels_unicode_text_is_read(folder):
    text = "file\tlabel\n" + rows().replace(",", "\t")
    assert len(load(folder, text.encode("utf-16")).paths) == 12


def test_labels_that_are_numbers_stand_in_their_order(folder):
    text = "file,label\n" + "".join(f"images/{n:02d}.png,{n % 3 * 5}\n" for n in range(12))
    images = load(folder, text)
    assert images.class_names == ("0", "5", "10")


def test_a_listed_file_that_is_no_image_is_named(folder):
    (folder / "images" / "12.xyz").write_bytes(b"of some camera")
    [problem] = load(folder, "file,label\n" + rows() + "images/12.xyz,cats\n").problems
    assert problem.reason.startswith("is not in a supported format")


def test_links_out_of_the_folder_are_treated_as_in_folders(folder, tmp_path):
    (folder / "images").rename(tmp_path / "disk")
    (folder / "images").symlink_to(tmp_path / "disk")
    path = table(folder, "file,label\n" + rows())
    with pytest.raises(UserError, match=r"labels.* out of the folder: --follow-links uses it"):
        load_images(None, labels=path)
    assert len(load_images(None, labels=path, follow_links=True).paths) == 12
    (folder / "images").unlink()
    (folder / "images").mkdir()
    for number in range(12):
        place = tmp_path / "disk" if number % 6 else draw(folder / "real" / "x.png", 1).parent
        source = next(place.glob(f"{number:02d}.png" if number % 6 else "x.png"))
        (folder / "images" / f"{number:02d}.png").symlink_to(source)
    assert names(load_images(None, labels=path)) == ["00.png", "06.png"]  # they stay inside


def test_files_may_lie_elsewhere(folder, tmp_path):
    path = table(tmp_path, "file,label\n" + rows().replace("images/", ""), "elsewhere.csv")
    images = load_images(folder / "images", labels=path)
    assert len(images.paths) == 12 and images.root == (folder / "images").resolve()
    whole = "".join(
        f"{folder}/images/{n:02d}.png,{'ab'[n > 5]}\n" for n in range(12)
    )  # absolute paths
    assert len(load_images(folder, labels=table(tmp_path, "file,label\n" + whole)).paths) == 12


def test_the_tables_parts_are_honoured(folder):
    parts = ["train", "Val", "test"]
    text = "file,label,split\n" + "".join(
        f"images/{n:02d}.png,{'cats' if n < 6 else 'dogs'},{parts[n % 3]}\n" for n in range(12)
    )
    images = load(folder, text)
    assert images.part_names == {"train": "train", "validation": "Val", "test": "test"}
    made = {"validation_split": 0.3, "test_split": 0.2, "seed": 1, "split_seed": 1}
    kept = Splits(images, split="folders", **made)("search", 0)
    assert {names(images)[row] for row in kept.test} == {"02.png", "05.png", "08.png", "11.png"}
    drawn = Splits(images, split="stratified", **made)
    for repeat in range(5):
        now = drawn("search", repeat)
        assert now.test.tolist() == kept.test.tolist()
        assert not {*now.train.tolist(), *now.validation.tolist()} & set(kept.test.tolist())
    assert drawn.origin.startswith("the test set is the part test as it is")


def test_a_group_of_the_table_never_stands_on_both_sides(folder):
    text = "file,label,group\n" + rows(more=",g{0}")
    images = load(folder, text)
    assert images.groups == tuple(f"g{n // 2}" for n in range(12))
    assert "groups: 6, with 12 images in all" in images.notes[1]
    for repeat in range(20):
        made = {"validation_split": 0.3, "test_split": 0.2, "seed": 1, "split_seed": 1}
        split = Splits(images, split="stratified", **made)("search", repeat)
        sides = [{images.groups[row] for row in part} for part in split]
        assert all(sides) and sum(map(len, sides)) == 6


@pytest.mark.parametrize("name", ["weight", " Sample_Weight"])
def test_weights_of_the_table_stay_with_their_images(folder, name):
    """In whatever order the lines are, and where an image is left out."""
    lines = rows(more=",{0}e-1").split()[::-1]
    (folder / "images" / "04.png").write_bytes(b"\x89PNG damaged")
    images = load(folder, f"file,label,{name}\n" + "\n".join(lines))
    numbers = [n for n in range(12) if n != 4]
    assert names(images) == [f"{n:02d}.png" for n in numbers]
    assert images.sample_weight.tolist() == pytest.approx([n // 2 / 10 for n in numbers])
    said = "sample weights: 0 to 0.5 (2 of 11 images weigh 0) in the"
    assert any(note.startswith(said) for note in images.notes)


def test_what_the_table_and_the_folder_do_not_share_is_named(folder):
    text = "file,label\n" + rows().replace("images/03.png", "images/03.jpg")
    images = load(folder, text)
    reasons = {problem.path.name: problem.reason for problem in images.problems}
    assert reasons == {
        "03.jpg": "is in the table, but there is no such file",
        "03.png": "is not in the table",
    }
    draw(folder / "b" / "03.png", 50)
    text = "file,label\n" + rows().replace("images/03.png", "03").replace("04.png", "05.png.")
    images = load(folder, text)
    reasons = {problem.path.name: problem.reason for problem in images.problems}
    assert reasons["03"] == (
        f"is in the table, but there is no such file ({folder}/b/03.png, {folder}/images/03.png?)"
    )
    assert reasons["05.png."] == "is in the table, but there is no such file"
    with pytest.raises(UserError, match=r"^.*labels\.csv has 5 entries that cannot be used: "):
        load_images(None, labels=folder / "labels.csv", strict=True)


@pytest.mark.parametrize(
    ("header", "change", "notes"),
    [
        (
            "file_name,class",
            {},
            ["column file_name is read as file", "column class is read as lab"],
        ),
        ("Image Name,Category", {}, ["column Image Name is read as file", "column Category is re"]),
        (
            "filename, cats, dogs",
            {",cats": ",1,0", ",dogs": ",0,1.0"},
            ["column filename is read", "each of 2 columns is read as a class"],
        ),
        ("sep=;\nfile;label", {",": ";"}, []),
        (
            "file,label",
            {".png": ""},
            ["12 names completed, such as images/00: there is only images/00.png"],
        ),
        (
            "file,label",
            {"images/": "", ".png": ""},
            ["12 names completed, such as 00: there is only"],
        ),
        ("file,label", {".png": ".PNG"}, ["12 names completed"]),
        ("file,label", {"images/0": "images%2F0"}, ["10 names completed"]),
    ],
)
def test_tables_of_other_programs_are_read_and_what_was_completed_is_said(
    folder, header, change, notes
):
    text = rows()
    for old, new in change.items():
        text = text.replace(old, new)
    images = load(folder, f"{header}\n{text}")
    assert images.class_names == ("cats", "dogs") and images.labels.tolist() == [0] * 6 + [1] * 6
    assert not images.problems and names(images) == [f"{n:02d}.png" for n in range(12)]
    assert len(images.notes) == len(notes) + 1
    for note, expected in zip(images.notes[1:], notes, strict=True):
        assert note.startswith(f"labels: {expected}")


REFUSED = [
    ("", "the first line must name the columns file and label .*, but file and label are missing"),
    (
        "id,breed\n1,a\n",
        "but file and label are missing; its columns are 'id', 'breed': rename those",
    ),
    ("images/00.png,a\n", "file and label are missing; .*: put a line of column names at the top$"),
    (
        "path,filename,label\n",
        "'path' and 'filename' may each be file: rename one of them to file$",
    ),
    ("file,cat,dog\nimages/00.png,1,1\n", r"line 2: has 2 classes \(cat, dog\), but a study needs"),
    ("file,cat,dog\nimages/00.png,0,0\n", "line 2: has no class, but a study needs one class for"),
    ("file,cat,cat\nimages/00.png,0,1\n", "two columns are named cat: keep one$"),
    (
        "file,id,dx\nimages/00.png,7,a\n",
        "line 2: no column is named label, and id is '7', not 0 or",
    ),
    (
        "file,breed\nimages/00.png,a\n",
        "but label is missing; its columns are 'file', 'breed': rename the one",
    ),
    ("file,label,label\nimages/00.png,a,b\n", "two columns are named label: keep one$"),
    ("file,label\n", "has no lines below the column names: add a line for each image file$"),
    ("file,label\nimages/00.png,\n", "line 2: label is empty: fill it in or remove the line$"),
    ("file,label\nimages/00.png\n", "line 2: has 1 cell, but the first line has 2: quote"),
    ("file,label\nimages/00.png,cat, small\n", "line 2: has 3 cells, but the first line has 2"),
    ("file,label,split\nimages/00.png,a\n", "line 2: has 2 cells, but the first line has 3"),
    ("file,label\n,a\n", "line 2: file is empty: fill it in"),
    (
        "file,label\nimages/00.png,a\nimages/01.png,b\nimages/00.png,b\n",
        r"00.png is in lines 2 and 4 with different values \(label a; label b\): keep one line",
    ),
    (
        "file,label\n../secret.png,a\n",
        r"line 2: \.\./secret\.png is not inside .*: give `data` the",
    ),
    ("file,label\n/etc/passwd,a\n", "line 2: /etc/passwd is not inside "),
    ("file,label\n.,a\n", "line 2: . is not inside "),
    (
        "file,label,split\nimages/00.png,a,holdout\n",
        "line 2: split is 'holdout', but must be train, val or test in every line of a table",
    ),
    (
        "file,label,split\nimages/00.png,a,train\nimages/01.png,b,\n",
        "line 3: split is '', but",
    ),
    ("file,label,split\nimages/00.png,a,test\n", "no line has split train, so there"),
    (b"file,label\nimages/00.png,caf\xe9\n", "line 2: is not UTF-8: save the table as CSV"),
    (
        b"file,label\nimages/00.png,a\0\n",
        "line 2: contains a zero byte, so it is not a CSV file: save it again$",
    ),
    (b"PK\x03\x04rest", "is a spreadsheet or an archive, not a CSV file: save the table as CSV"),
    ("file,label\n" + "x" * 200_000 + ",a\n", "line 2: is not CSV "),
    ("file,label\n" + rows("cats"), "has usable images of fewer than two labels, cats: two"),
    (
        "file,label\nno.png,a\nnot.png,b\n",
        "has usable images of fewer than two .*no.png is in the table",
    ),
    ("file,label,weight\nimages/00.png,a,-1\n", "line 2: weight is '-1', but weights are finite"),
    ("file,label,weight\nimages/00.png,a,\n", "line 2: weight is '', but .*rename the column"),
    ("file,label,weight\nimages/00.png,a,heavy\n", "line 2: weight is 'heavy', but weights are"),
    ("file,label,weight\nimages/00.png,a,nan\n", "line 2: weight is 'nan', but weights are fin"),
    ("file,label,weight\nimages/00.png,a,1e39\n", "line 2: weight is '1e39', but weights are"),
    ("file,label,weight\n" + rows(more=",0"), "the weights of all images to train on are 0"),
    ("file,label,weight,sample_weight\n", "two columns are named weight: keep one$"),
    (
        "file,label,weight\nimages/00.png,a,1\nimages/00.png,a,2\n",
        r"in lines 2 and 3 with different values \(label a, weight 1.0; label a, weight 2.0\)",
    ),
    (
        "file,label\n" + rows() + "images/99.png,fish\n",
        "class fish in .*labels.csv has no usable file .1 left out, such as .*99.png is in the",
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_a_table_that_cannot_be_true_is_refused_with_its_line(folder, text, expected):
    with pytest.raises(UserError, match=expected):
        load(folder, text)


def test_a_class_that_only_tests_is_refused(folder):
    text = "file,label,split\n" + rows(more=",train")
    text += "".join(f"extra/{n}.png,fish,test\n" for n in range(2))
    for number in range(2):
        draw(folder / "extra" / f"{number}.png", 50 + number)
    with pytest.raises(UserError, match="has no training image of fish: put some"):
        load(folder, text)


@pytest.mark.parametrize("given", ["", "no.csv", "."])
def test_no_table_is_refused(folder, monkeypatch, given):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="`labels`"):
        load_images(None, labels=given)


def test_a_table_is_mentioned_where_a_folder_has_no_classes(folder, capsys):
    table(folder, "file,label\n" + rows())
    for data in (folder, folder / "images", folder / "labels.csv"):
        assert main(["--data", str(data), "--grid", str(folder / "x" / "grid.png")]) == 2
        assert "--labels" in capsys.readouterr().err
    arguments = ["--labels", str(folder / "labels.csv"), "--grid", str(folder / "x" / "grid.png")]
    assert main(arguments) == 0
    assert "12 images in 2 classes" in capsys.readouterr().out


def test_the_fingerprint_holds_labels_groups_and_parts(folder):
    plain = load(folder, "file,label\n" + rows()).fingerprint
    turned = [",".join(reversed(line.split(","))) for line in rows().split()]
    assert load(folder, "label,file\n" + "\n".join(turned)).fingerprint == plain
    others = [
        load(folder, "file,label\n" + rows().replace("05.png,cats", "05.png,dogs")),
        load(folder, "file,label,group\n" + rows(more=",g{0}")),
        load(folder, "file,label,split\n" + rows(more=",train")),
    ]
    others.append(load(folder, "file,label,weight\n" + rows(more=",{0}")))
    assert len({plain, *(images.fingerprint for images in others)}) == 5


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: "file,label,split,group\n" + text),
        st.lists(
            st.tuples(
                st.sampled_from(["images/00.png", "images/01.png", "\0", "..", "a\nb", '"', "🐈"]),
                st.sampled_from(["a", "b", "", "\r", ";", ",", "1e999"]),
            )
        ).map(lambda cells: "file,label\n" + "\n".join(",".join(pair) for pair in cells)),
    )
)
def test_whatever_a_table_holds_ends_in_images_or_in_one_sentence(folder, text):
    try:
        images = load(folder, text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(images.class_names) > 1
