"""A `.npz` file of rows: what is read, and that whatever else a file holds ends in one sentence."""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.common.errors import UserError
from study.data import main
from study.data.rows import npz_file
from study.data.rows.load_rows import RowSet, load_rows
from study.data.splits.study_splits import Splits

N, D = 30, 4
X = np.random.default_rng(3).normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % 3
NAMES = np.array(["wolf", "ant", "owl"])
PARTS = np.array(["train", "valid", "Test "])[np.arange(N) // 3 % 3]
Write = Callable[..., RowSet]


@pytest.fixture
def loaded(tmp_path: Path) -> Write:
    """Write these arrays and read the file."""

    def write_and_read(**arrays: Any) -> RowSet:
        np.savez(tmp_path / "rows.npz", **arrays)
        return load_rows(tmp_path / "rows.npz")

    return write_and_read


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load_rows(path)
    return str(error.value)


def member(header: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An array as NumPy writes it, with any header."""
    text = header.encode("latin1")
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def plain(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


# ---- what is read ----


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("piece", [1, 40, 2**23])
def test_every_layout_of_the_same_numbers_gives_the_same_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    order: str,
    save: Callable[..., None],
    piece: int,
) -> None:
    monkeypatch.setattr(npz_file, "PIECE", piece)  # bytes: many pieces, of rows or of columns
    x = X.astype(np.float16)  # exact in all of them
    save(tmp_path / "rows.npz", x=np.array(x.astype(dtype), order=order), y=Y.astype(">i8"))
    found = load_rows(tmp_path / "rows.npz")
    assert found.rows.dtype == np.float32 and found.rows.flags.c_contiguous
    np.testing.assert_array_equal(found.rows, x.astype(np.float32))
    np.testing.assert_array_equal(found.labels, Y)
    assert found.labels.dtype == np.int32


def test_classes_are_numbers_names_or_named_numbers(loaded: Write) -> None:
    assert loaded(x=X, y=Y * 5).class_names == ("0", "5", "10")
    for names in (NAMES, NAMES.astype("S")):
        found = loaded(x=X, y=names[Y])
        assert found.class_names == ("ant", "owl", "wolf")
        assert [found.class_names[label] for label in found.labels] == NAMES[Y].tolist()
    found = loaded(x=X, y=Y, class_names=NAMES)
    assert found.class_names == ("wolf", "ant", "owl")
    np.testing.assert_array_equal(found.labels, Y)


def test_a_named_class_without_rows_is_left_out_and_named(loaded: Write) -> None:
    found = loaded(x=X, y=np.array([0, 3, 1])[Y], class_names=np.array(["a", "b", "lost", "d"]))
    assert found.class_names == ("a", "b", "d")
    np.testing.assert_array_equal(found.labels, np.array([0, 2, 1])[Y])
    assert found.notes == ("class_names: 1 of 4 have no rows and are left out, such as lost",)


def test_one_column_is_enough(loaded: Write) -> None:
    assert loaded(x=X[:, :1], y=Y).rows.shape == (N, 1)


def test_constant_columns_are_named_by_number_and_kept(loaded: Write) -> None:
    x = X.copy()
    x[:, 2] = 7
    found = loaded(x=x, y=Y)
    assert found.constant == (2,)
    assert found.notes[0].startswith("warning: column 2 of 4 (from 0) never varies")
    np.testing.assert_array_equal(found.rows, x)


def test_equal_rows_never_stand_on_both_sides(loaded: Write) -> None:
    x = np.repeat(X[:15], 2, axis=0)
    x[0], x[1] = 0.0, -0.0  # the same to a model
    y = np.repeat(np.arange(15) % 3, 2)
    found = loaded(x=x, y=y)
    assert len(set(found.digests)) == 15
    splits = Splits(
        found, split="stratified", validation_split=0.3, test_split=0.2, seed=1, split_seed=1
    )
    for repeat in range(5):
        parts = [{found.digests[row] for row in part} for part in splits("search", repeat)]
        assert not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1])


def test_the_same_numbers_in_two_classes_are_found(loaded: Write) -> None:
    x = X.copy()
    x[7] = x[3]
    assert loaded(x=x, y=Y).in_several_classes() == [[3, 7]]


def test_copies_and_the_scale_of_the_numbers_are_said(loaded: Write) -> None:
    assert loaded(x=X, y=Y).doubts() == []
    (line,) = loaded(x=np.repeat(X, 3, axis=0), y=np.repeat(Y, 3)).doubts()
    assert line.startswith(f"copies: {2 * N} of {3 * N} rows repeat an earlier one; a stratified")
    for scale in (1e30, 1e-30):
        x = np.ones_like(X, dtype=np.float64) * scale
        x[:, 1] *= np.arange(1, N + 1)
        (line,) = loaded(x=x, y=Y).doubts()
        assert line.startswith(
            f"the largest number is {N * scale:.3g} (column 1, from 0), that of "
        )
        assert f"the median column {scale:.3g}: " in line


def test_groups_never_part_and_parts_are_honoured(loaded: Write) -> None:
    group = np.arange(N) // 3
    found = loaded(x=X, y=Y, group=group, split=PARTS)
    assert found.part_names == {"train": "train", "validation": "valid", "test": "Test"}
    splits = Splits(
        found, split="stratified", validation_split=0.3, test_split=0.2, seed=1, split_seed=1
    )
    tested = np.flatnonzero(PARTS == "Test ")
    for repeat in range(5):
        split = splits("search", repeat)
        np.testing.assert_array_equal(split.test, tested)
        assert not set(group[split.train]) & set(group[split.validation])
        assert len(split.train) + len(split.validation) == N - len(tested)
    assert "the test set is the part Test as it is" in splits.origin
    kept = Splits(
        found, split="folders", validation_split=0.3, test_split=0.2, seed=1, split_seed=1
    )
    for rows, word in zip(kept("search", 0), ("train", "valid", "Test "), strict=True):
        np.testing.assert_array_equal(rows, np.flatnonzero(word == PARTS))
    assert kept.origin.startswith("the parts train, valid, Test as they are")
    names = np.array(["x", ""])[np.arange(N) % 2]
    assert loaded(x=X, y=Y, group=names).groups == tuple(names)


def test_the_fingerprint_is_that_of_the_content_not_of_the_file(
    tmp_path: Path, loaded: Write
) -> None:
    first = loaded(x=X, y=Y).fingerprint
    np.savez_compressed(tmp_path / "moved.npz", y=Y.astype(np.uint8), x=X.astype(np.float64))
    assert load_rows(tmp_path / "moved.npz").fingerprint == first
    other = X.copy()
    other[3, 1] += 1
    for changed in (
        {"x": other, "y": Y},
        {"x": X, "y": Y[::-1]},
        {"x": X, "y": Y, "class_names": NAMES},
        {"x": X, "y": Y, "group": np.arange(N) // 2},
        {"x": X, "y": Y, "split": PARTS},
        {"x": X, "y": Y, "sample_weight": np.ones(N)},
    ):
        assert loaded(**changed).fingerprint != first


@pytest.mark.parametrize("dtype", ["<f2", ">f8", "u1", "i8"])
def test_weights_of_rows_are_numbers_of_any_kind(loaded: Write, dtype: str) -> None:
    found = loaded(x=X, y=Y, sample_weight=(np.arange(N) % 4).astype(dtype))
    assert found.sample_weight is not None
    assert found.sample_weight.tolist() == (np.arange(N) % 4).tolist()
    assert found.notes[0] == (
        "sample weights: 0 to 3 (8 of 30 rows weigh 0) in the training loss; accuracies and "
        "validation count every row alike"
    )
    assert loaded(x=X, y=Y).sample_weight is None and not loaded(x=X, y=Y).notes


@pytest.mark.parametrize("kept", [0, 1])
def test_a_class_that_weighs_nothing_in_a_split_is_named(
    loaded: Write, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one ant that weighs anything is a test row, so no split trains on it."""
    weights = (Y != 1) * 1.0
    made = {"split": "stratified", "validation_split": 0.3, "test_split": 0.2, "seed": 1}
    test = Splits(loaded(x=X, y=Y), **made, split_seed=1)("search", 0).test
    weights[[row for row in test if Y[row] == 1][:kept]] = 1
    found = loaded(x=X, y=Y, class_names=NAMES, sample_weight=weights)
    said = "all training rows of ant weigh 0 in a split, so its heads do not learn them"
    assert said in Splits(found, **made, split_seed=1).warnings(several=True)
    assert main(["--features", str(found.source)]) == 0
    assert f"warning: {said}" in capsys.readouterr().out


def test_rows_that_do_not_fit_into_the_memory_lie_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Write
) -> None:
    monkeypatch.setattr("study.data.rows.row_room.MEMORY_FRACTION", 1e-12)
    found = loaded(x=np.asfortranarray(X), y=Y)
    assert isinstance(found.rows, np.memmap)
    np.testing.assert_array_equal(found.rows, X)


# ---- what is refused ----

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"x": X}, "y: is missing (the file holds x): add y (N,) of class numbers or names"),
    ({"y": Y}, "x: is missing (the file holds y)"),
    ({}, "x: is missing (the file is empty)"),
    ({"X": X, "y": Y}, "X: unknown key (did you mean x?); valid: x, y, group, split, class_names"),
    ({"x": X, "y": Y, "groups": Y}, "groups: unknown key (did you mean group?)"),
    ({"x": X[0], "y": Y}, "x: is (4,), but must be (N, d), one row each: one number a row"),
    ({"x": X[:, :, None, None], "y": Y}, "x: is (30, 4, 1, 1), but must be (N, d)"),
    ({"x": X[:0], "y": Y[:0]}, "x: is (0, 4), but needs 1 to 2,147,483,647 rows"),
    ({"x": X[:, :0], "y": Y}, "x: is (30, 0), but needs 1 to 2,147,483,647 rows"),
    ({"x": X.astype(int), "y": Y}, "x: is int64, but must be one of float16, float32, float64"),
    ({"x": X.astype(complex), "y": Y}, "x: is complex128, but must be"),
    ({"x": X > 0, "y": Y}, "x: is bool, but must be"),
    ({"x": X.astype(np.longdouble), "y": Y}, "but must be one of float16, float32, float64"),
    ({"x": np.array("a"), "y": Y}, "x: is (), but must be (N, d)"),
    ({"x": X, "y": Y[:-1]}, "y: is (29,), but x has 30 rows"),
    ({"x": X, "y": Y[:, None]}, "y: is (30, 1), but x has 30 rows: y.ravel()"),
    ({"x": X, "y": np.eye(3)[Y]}, "y: is (30, 3), but x has 30 rows: y.argmax(axis=1)"),
    ({"x": X, "y": Y, "group": Y[:7]}, "group: is (7,), but x has 30 rows"),
    ({"x": X, "y": Y, "split": PARTS[:7]}, "split: is (7,), but x has 30 rows"),
    ({"x": X, "y": Y * 1.0}, "y: is float64, but must hold whole numbers or names"),
    ({"x": X, "y": Y > 0}, "y: is bool, but must hold whole numbers or names"),
    ({"x": X, "y": Y - 1}, "y: -1 in row 0 (from 0), but classes are numbered from 0"),
    ({"x": X, "y": Y * 0}, "y: holds only one class, 0, but needs two"),
    ({"x": X, "y": np.array(["a", "b", " "])[Y]}, "y: 10 names are empty, the first in row 2"),
    ({"x": X, "y": np.array(["a", "b", "c" * 1001])[Y]}, "y: has names of up to 1,001 characters"),
    ({"x": X, "y": np.array([b"a", b"b", b"\xff"])[Y]}, "y: holds bytes that are not text"),
    ({"x": X, "y": np.array(["a", "\n", "\\n"])[Y]}, "y: 10 names are empty"),
    ({"x": X, "y": np.array(["a", "b\n", "b\\n"])[Y]}, r"y: two classes are both named b\n"),
    ({"x": X, "y": Y, "class_names": NAMES[:2]}, "y: 2 in row 2 (from 0), but class_names has 2"),
    (
        {"x": X, "y": NAMES[Y], "class_names": NAMES},
        "class_names: names class numbers, but y holds names",
    ),
    ({"x": X, "y": Y, "class_names": NAMES[[0, 0, 1]]}, "class_names: two classes are both named"),
    ({"x": X, "y": Y, "class_names": NAMES[None]}, "class_names: is (1, 3), but must be (C,)"),
    ({"x": X, "y": Y, "class_names": np.arange(3)}, "class_names: is int64, but must hold names"),
    ({"x": X, "y": Y, "group": X[:, 0]}, "group: is float32, but must hold whole numbers or"),
    ({"x": X, "y": Y, "split": Y}, "split: is int64, but must hold names"),
    ({"x": X, "y": Y, "split": NAMES[Y]}, "split: 'ant' in row 1 (from 0) is not a part"),
    ({"x": X, "y": Y, "split": np.array(["train", "tset"])[Y % 2]}, "(did you mean test?)"),
    ({"x": X, "y": Y, "split": np.array(["train", "val"])[Y // 2]}, "leaves no row to train on"),
    ({"x": X, "y": Y, "sample_weight": X}, "sample_weight: is (30, 4), but x has 30 rows"),
    ({"x": X, "y": Y, "sample_weight": Y > 0}, "sample_weight: is bool, but must hold numbers"),
    ({"x": X, "y": Y, "sample_weight": NAMES[Y]}, "sample_weight: is <U4, but must hold numbers"),
    ({"x": X, "y": Y, "sample_weight": Y - 1}, "sample_weight: -1 in row 0 (from 0), but weights"),
    ({"x": X, "y": Y, "sample_weight": np.array([1, np.nan, 1])[Y]}, "nan in row 1 (from 0), but"),
    ({"x": X, "y": Y, "sample_weight": np.array([1, 1, np.inf])[Y]}, "inf in row 2 (from 0), but"),
    ({"x": X, "y": Y, "sample_weight": 1e39 * Y}, "1e+39 in row 1 (from 0), but weights are fin"),
    ({"x": X, "y": Y, "sample_weight": Y * 0}, "the weights of all rows to train on are 0"),
    (
        {"x": X, "y": Y, "split": PARTS, "sample_weight": (PARTS == "Test ") * 1},
        "the weights of all rows to train on are 0, so there is nothing to learn",
    ),
    ({"x": X, "y": Y, "weight": Y}, "weight: unknown key (did you mean sample_weight?)"),
    ({"x": X * 0 + 1, "y": Y}, "x: all rows are equal, so there is nothing to learn"),
    (
        {"x": X.astype(float) * 1e300, "y": Y},
        "x: 120 numbers are beyond float32, the first in row 0",
    ),
]


@pytest.mark.parametrize(("arrays", "sentence"), WRONG, ids=[words for _, words in WRONG])
def test_what_cannot_be_used_is_named(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, **arrays)
    said = refused(path)
    assert said.startswith(f"{path}: ") and sentence in said and "\n" not in said


@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_that_are_none_are_counted(tmp_path: Path, order: str) -> None:
    x = X.copy()
    x[11, 0], x[9, 3], x[20] = np.nan, -np.inf, np.nan
    np.savez(tmp_path / "rows.npz", x=np.array(x, order=order), y=Y)
    assert "x: 6 numbers are NaN or infinite, the first in row 9" in refused(tmp_path / "rows.npz")


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    assert "does not exist" in refused(path)
    assert "is not a file" in refused(tmp_path)
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_text("a,b\n1,2\n")
    assert "is not an .npz file" in refused(path)
    path.write_bytes(plain(X))
    assert "is one array (.npy), without labels" in refused(path)
    assert "data.pkl: is not a NumPy array" in refused(zipped(path, {"data.pkl": b"abc"}))
    assert "x: is damaged" in refused(zipped(path, {"x.npy": b"abc"}))
    np.savez(path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:300])
    assert "is damaged or incomplete" in refused(path)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.victim, "harm")


@pytest.mark.parametrize("key", ["x", "y", "class_names"])
def test_nothing_pickled_is_ever_loaded(tmp_path: Path, key: str) -> None:
    victim = tmp_path / "victim"
    payload = pickle.dumps(Harmful(victim))
    pickle.loads(payload)
    assert victim.read_text() == "harm"  # it would do harm
    victim.unlink()
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({N},), }}"
    arrays = {"x": plain(X), "y": plain(Y), "class_names": plain(NAMES)}
    for content in (member(header, payload), payload):
        path = zipped(
            tmp_path / "rows.npz", {f"{k}.npy": v for k, v in (arrays | {key: content}).items()}
        )
        said = refused(path)
        assert f"{key}: holds Python objects" in said or f"{key}: is damaged" in said
        assert not victim.exists()


@pytest.mark.parametrize("kind", ["<U0", "|S0"])
def test_names_of_no_letters_are_empty(tmp_path: Path, kind: str) -> None:
    nothing = member(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({N},), }}", b"")
    path = zipped(tmp_path / "rows.npz", {"x.npy": plain(X), "y.npy": nothing})
    assert "y: 30 names are empty" in refused(path)


def test_a_text_column_as_pandas_has_it_is_told_how_to_write_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=X, y=NAMES[Y].astype(object))
    said = refused(tmp_path / "rows.npz")
    assert "y: holds Python objects" in said and "y.astype(str)" in said


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (member(HEADER % f"({10**15}, {D})", X.tobytes()), "but there are"),
        (member(HEADER % f"({N}, -{D})", X.tobytes()), "a length below 0"),
        (member(HEADER % f"(-{N}, -{D})", X.tobytes()), f"states (-{N}, -{D}), a length below 0"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 9, "claims 2,147,483,647 characters"),
        (member(HEADER % f"({N}, {D + 1})", X.tobytes()), "but there are"),
        (member(HEADER % f"({N}, {D})", X.tobytes() + b"more"), "but there are"),
        (member(HEADER % ("(" * 5000), b"", b"\x02\x00"), "is damaged"),
        (member(HEADER % f"({N}, {D})" + " " * 20_000, X.tobytes()), "is damaged"),
        (member("{'descr': __import__('os').getcwd()}", b""), "is damaged"),
        (member(HEADER.replace("<f4", "<V4") % f"({N}, {D})", X.tobytes()), "x: is "),
        (member("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1)}", b"abcd"),
         "x: is "),
        (member(HEADER % f"({N}, {D})", X.tobytes(), b"\x03\x00"), "is a table of named columns"),
        (member(HEADER % f"({N}, {D})", X.tobytes(), b"\x09\x00"), "x: is "),
    ],
)  # fmt: skip
def test_headers_are_not_believed(tmp_path: Path, content: bytes, sentence: str) -> None:
    said = refused(zipped(tmp_path / "rows.npz", {"x.npy": content, "y.npy": plain(Y)}))
    assert sentence in said and len(said) < 500


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_small_file_cannot_claim_gigabytes(tmp_path: Path, method: int) -> None:
    """Header and zip agree on sizes, but the bytes cannot be there: nothing is made room for."""
    start = len(member(HEADER % f"({2**28 - 8}, 4)", b""))
    content = member(HEADER % f"({2**28 - 8}, 4)", b"\0" * 16)
    path = zipped(tmp_path / "rows.npz", {"x.npy": content, "y.npy": plain(Y)}, method)
    claimed = start + 16 * (2**28 - 8)
    raw = path.read_bytes().replace(struct.pack("<L", start + 16), struct.pack("<L", claimed))
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as file:
        assert file.getinfo("x.npy").file_size == claimed > 4e9
    said = refused(path)
    assert f"x: claims {claimed:,} bytes, more than its share of the file can hold" in said


def test_rows_that_need_more_memory_than_there_is_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "rows.npz", x=X, y=Y)
    monkeypatch.setattr("study.data.rows.load_rows.BESIDE", 1 << 50)
    said = refused(tmp_path / "rows.npz")
    assert f"x: {N} rows need" in said and "GB may be used here: give fewer rows" in said


def test_a_key_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            file.writestr("x.npy", plain(X))
    assert "x: is in the file twice" in refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_numpy_writes_is_unpacked(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "rows.npz", {"x.npy": plain(X), "y.npy": plain(Y)}, method)
    assert "x: is compressed in a way that NumPy does not use" in refused(path)


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "rows.npz", {"x.npy": plain(X), "y.npy": plain(Y)})
    raw = bytearray(path.read_bytes())
    raw[raw.index(X.tobytes()) + 5] ^= 4
    path.write_bytes(raw)
    assert "x: is damaged (Bad CRC-32" in refused(path)


FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def outcome(path: Path) -> None:
    """Rows, or one sentence; nothing else leaves `load_rows`."""
    try:
        found = load_rows(path)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    else:
        assert np.isfinite(found.rows).all() and len(found.labels) == len(found.rows)


def mutated(data: st.DataObject, content: bytes) -> bytes:
    raw = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
        if kind == "flip" and raw:
            raw[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del raw[place : place + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            raw[place:place] = data.draw(st.binary(min_size=1, max_size=20))
        elif kind == "end":
            del raw[place:]
    return bytes(raw)


COLUMNS = {"x": X, "y": NAMES[Y], "group": Y, "split": PARTS}


@FUZZ
@given(data=st.data(), packed=st.booleans())
def test_a_damaged_file_ends_in_one_sentence(
    tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    path = tmp_path / "rows.npz"
    (np.savez_compressed if packed else np.savez)(path, **COLUMNS)
    path.write_bytes(mutated(data, path.read_bytes()))
    outcome(path)


@FUZZ
@given(data=st.data(), key=st.sampled_from(list(COLUMNS)))
def test_a_damaged_array_in_a_sound_file_ends_in_one_sentence(
    tmp_path: Path, data: st.DataObject, key: str
) -> None:
    arrays = {k: plain(v) for k, v in COLUMNS.items()}
    arrays[key] = mutated(data, arrays[key])
    outcome(zipped(tmp_path / "rows.npz", {f"{k}.npy": v for k, v in arrays.items()}))


WORDS = st.sampled_from(
    [
        *("'descr'", "'fortran_order'", "'shape'", "'<f4'", "'|O'", "'<U3'", "(30,)", "(30, 4)"),
        *("True", "False", "None", "{", "}", "[", "]", "(", ")", ",", ":", "-1", "10**9", "1e400"),
        *("30L", "\\", "'", "lambda: 0", "__import__('os')", "#", "\0", "é", "b''", "'<f4,<f4'"),
        *("'M8[ns]'", "'V0'"),
    ]
)


@FUZZ
@given(
    header=st.one_of(
        st.lists(WORDS, max_size=14).map(" ".join),
        st.builds(
            lambda descr, order, shape: (
                f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"
            ),
            st.one_of(st.text(max_size=6).map(repr), WORDS),
            WORDS,
            st.lists(st.integers(-2, 10**12), max_size=3).map(lambda n: repr(tuple(n))),
        ),
    ),
    key=st.sampled_from(["x", "y", "group", "split", "class_names"]),
    content=st.binary(max_size=600),
)
def test_a_hostile_header_ends_in_one_sentence(
    tmp_path: Path, header: str, key: str, content: bytes
) -> None:
    arrays = {"x": plain(X), "y": plain(Y), "class_names": plain(NAMES)}
    arrays[key] = member(header.encode("latin1", "replace").decode("latin1"), content)
    outcome(zipped(tmp_path / "rows.npz", {f"{k}.npy": v for k, v in arrays.items()}))


def test_a_sentence_is_about_a_file_that_prints(tmp_path: Path) -> None:
    said = refused(zipped(tmp_path / "rows.npz", {"bad\x1b[31m.npy": plain(X)}))
    assert re.search(r"bad\\x1b\[31m: unknown key", said)


def test_the_command_shows_what_is_in_a_file_of_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = X.copy()
    x[4] = x[3]  # of another class
    np.savez(tmp_path / "rows.npz", x=x, y=Y, split=PARTS, class_names=NAMES)
    path = str(tmp_path / "rows.npz")
    assert main(["--features", path]) == 0
    said = capsys.readouterr().out
    assert f"30 rows in 3 classes in {path}, 4 numbers each" in said
    assert "      10  wolf (" in said and "divided into" in said and "copies: 1" in said
    assert "the same numbers in several classes: row 3, row 4" in said
    assert main(["--features", path, "--labels", "x.csv"]) == 2
    assert capsys.readouterr().err.startswith("error: --labels is for images, but --features is")
