import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.errors import UserError
from study.common.memory import usable_memory
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.pixels.decoding import decode
from study.data.rows.row_room import feature_rows
from study.features.backbone import Backbone, load_backbone
from study.features.extract import batch_size, extract_features
from study.features.row_cache import MERGE_FILES, RowCache

WIDTH = 4
DIGESTS = [f"{number:064x}" for number in range(1, 2000)]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("random", image_size=32, preprocess="caffe", dtype="float32")


def write_images(folder: Path, numbers: range) -> None:
    """One grey-level PNG a number, in two classes; the same number gives the same bytes."""
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    write_images(tmp_path / "photos", range(12))
    return load_images(tmp_path / "photos")


def only_chunk(folder: Path) -> Path:
    (path,) = folder.rglob("*.npy")
    return path


# extraction


def test_rows_are_the_output_of_the_model_in_the_order_of_the_images(images, backbone, tmp_path):
    result = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    pixels = np.stack([decode(path, 32) for path in images.paths]).astype(np.float32)
    expected = np.asarray(backbone.model(pixels))
    assert result.features.dtype == np.float32
    assert result.features.shape == (12, 512)
    np.testing.assert_allclose(result.features, expected, rtol=1e-4, atol=1e-3)


def test_second_run_computes_nothing_and_ten_new_images_compute_ten(images, backbone, tmp_path):
    first = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    again = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    assert (first.computed, first.cached) == (12, 0)
    assert (again.computed, again.cached) == (0, 12)
    np.testing.assert_array_equal(first.features, again.features)
    write_images(tmp_path / "photos", range(100, 110))
    more = load_images(tmp_path / "photos")
    grown = extract_features(more, backbone, cache_dir=tmp_path / "cache")
    assert (grown.computed, grown.cached) == (10, 12)


def test_a_row_does_not_depend_on_the_images_beside_it(images, backbone, tmp_path):
    write_images(tmp_path / "more", range(4, 4 + batch_size(backbone) + 3))  # two batches
    other = load_images(tmp_path / "more")
    here = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    there = extract_features(other, backbone, cache_dir=tmp_path / "elsewhere")
    shared = set(images.digests) & set(other.digests)
    assert len(shared) == 8
    for digest in shared:
        np.testing.assert_array_equal(
            here.features[images.digests.index(digest)],
            there.features[other.digests.index(digest)],
        )


def test_equal_content_is_computed_once(images, backbone, tmp_path):
    copy = images.root / "class1" / "copy.png"
    copy.write_bytes(images.paths[0].read_bytes())
    both = load_images(images.root)
    result = extract_features(both, backbone, cache_dir=tmp_path / "cache")
    assert result.computed == 12
    rows = [both.paths.index(path) for path in (images.paths[0], copy)]
    np.testing.assert_array_equal(*result.features[rows])


def test_other_preprocessing_and_other_dtype_have_rows_of_their_own(images, backbone, tmp_path):
    extract_features(images, backbone, cache_dir=tmp_path / "cache")
    for other in (
        load_backbone("random", image_size=32, preprocess="rescale", dtype="float32"),
        load_backbone("random", image_size=32, preprocess="caffe", dtype="bfloat16"),
    ):
        assert extract_features(images, other, cache_dir=tmp_path / "cache").computed == 12


def test_image_changed_since_it_was_checked_is_named(images, backbone, tmp_path):
    write_images(tmp_path / "other", range(50, 51))
    images.paths[3].write_bytes((tmp_path / "other/class0/50.png").read_bytes())
    with pytest.raises(UserError, match="changed while the study ran") as caught:
        extract_features(images, backbone, cache_dir=tmp_path / "cache")
    assert images.paths[3].name in str(caught.value)


def test_image_gone_since_it_was_checked_is_named(images, backbone, tmp_path):
    images.paths[3].unlink()
    with pytest.raises(UserError, match="can no longer be read"):
        extract_features(images, backbone, cache_dir=tmp_path / "cache")


# damage and refusal


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut, empty])
def test_damaged_chunk_is_named_and_computed_anew(images, backbone, tmp_path, capsys, damage):
    first = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    chunk = only_chunk(tmp_path / "cache")
    damage(chunk)
    capsys.readouterr()
    again = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning.startswith(f"warning: feature cache {chunk} is damaged")
    assert again.computed == 12
    np.testing.assert_array_equal(first.features, again.features)
    assert extract_features(images, backbone, cache_dir=tmp_path / "cache").cached == 12
    assert "damaged" not in capsys.readouterr().err  # it was set aside


def test_given_cache_folder_that_cannot_be_written_is_refused(images, backbone, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cache folder .* cannot be written .*; give `cache_dir`"):
        extract_features(images, backbone, cache_dir=tmp_path / "file")


def test_own_cache_folder_that_cannot_be_written_is_done_without(
    images, backbone, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert extract_features(images, backbone).computed == 12
    assert "warning: no feature cache" in capsys.readouterr().err


def test_full_disk_costs_the_cache_and_not_the_features(images, backbone, tmp_path, capsys):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # a chunk of 12 is 25 kB
    try:
        result = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.computed == 12
    assert np.isfinite(result.features).all()
    assert "cannot be written (File too large); continuing without it" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.*"))


# the files


def all_rows(folder: Path) -> dict[str, np.ndarray]:
    return {
        digest: row
        for digests, rows in RowCache(folder, WIDTH).read()
        for digest, row in zip(digests, rows, strict=True)
    }


def test_many_small_chunks_become_few_files_and_no_row_is_lost(tmp_path):
    cache = RowCache(tmp_path, WIDTH)
    for number, digest in enumerate(DIGESTS[:100]):
        cache.append([digest], np.full((1, WIDTH), number, np.float32))
    assert len(list(tmp_path.iterdir())) < MERGE_FILES
    rows = all_rows(tmp_path)
    assert {digest: row[0] for digest, row in rows.items()} == dict(
        zip(DIGESTS[:100], range(100), strict=True)
    )


WRITER = """
import sys, numpy as np
from pathlib import Path
from study.features.row_cache import RowCache
cache, digests = RowCache(Path(sys.argv[1]), 4), sys.argv[2].split(",")
print("ready", flush=True)
for digest in digests:
    cache.append([digest], np.full((1, 4), int(digest, 16), np.float32))
"""


def writer(folder: Path, digests: list[str]) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), ",".join(digests)],
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_write_at_once_lose_nothing(tmp_path, capsys):
    parts = DIGESTS[:60], DIGESTS[40:100]  # some rows come from both
    processes = [writer(tmp_path, part) for part in parts]
    while any(process.poll() is None for process in processes):
        all_rows(tmp_path)  # and one that reads meanwhile
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.stdout.close()
    rows = all_rows(tmp_path)
    assert {digest: row[0] for digest, row in rows.items()} == {
        digest: int(digest, 16) for digest in DIGESTS[:100]
    }
    assert "damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("milliseconds", [1, 5, 20])
def test_killed_writer_leaves_only_whole_chunks(tmp_path, capsys, milliseconds):
    process = writer(tmp_path, DIGESTS[:1000])
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(milliseconds / 1000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    rows = all_rows(tmp_path)
    assert sorted(rows) == DIGESTS[: len(rows)]  # the first ones, without a gap
    assert "damaged" not in capsys.readouterr().err


def test_chunk_is_a_plain_numpy_table_that_can_be_mapped(tmp_path):
    cache = RowCache(tmp_path, WIDTH)
    cache.append(DIGESTS[:3], np.arange(12, dtype=np.float32).reshape(3, WIDTH))
    table = np.load(only_chunk(tmp_path), mmap_mode="r", allow_pickle=False)
    assert table["digest"][2].tobytes().hex() == DIGESTS[2]
    np.testing.assert_array_equal(table["features"][2], [8, 9, 10, 11])


@pytest.mark.parametrize(
    ("line", "file", "content", "limit"),
    [
        ("0::/job/1", "job/1/memory.max", "5000\n", 5000),
        ("0::/job/1", "job/memory.max", "6000\n", 6000),  # of a group around it
        ("0::/host/path", "memory.max", "7000\n", 7000),  # seen from inside a container
        ("0::/job/1", "job/1/memory.max", "max\n", None),
        ("4:memory:/job", "memory/job/memory.limit_in_bytes", "8000\n", 8000),
        ("4:cpu,memory:/job", "memory/memory.limit_in_bytes", "9000\n", 9000),
        ("4:cpu:/job", "memory/job/memory.limit_in_bytes", "9000\n", None),
    ],
)
def test_a_control_groups_limit_is_the_memory_that_may_be_used(
    line: str, file: str, content: str, limit: int | None, tmp_path: Path
) -> None:
    groups = tmp_path / "groups"
    (groups / file).parent.mkdir(parents=True)
    (groups / file).write_text(content)
    whole = usable_memory(tmp_path / "nothing", groups)
    (tmp_path / "cgroup").write_text(f"1:name=systemd:/\n{line}\n")
    assert usable_memory(tmp_path / "cgroup", groups) == (limit or whole)


def test_rows_that_do_not_fit_into_the_memory_are_mapped_from_an_unnamed_file(
    tmp_path: Path,
) -> None:
    small = feature_rows(10, 512, tmp_path, memory=10 * 512 * 4 * 2)
    large = feature_rows(11, 512, tmp_path, memory=10 * 512 * 4 * 2)
    assert not isinstance(small, np.memmap) and isinstance(large, np.memmap)
    large[:] = np.arange(11 * 512, dtype=np.float32).reshape(11, 512)
    assert large[10, 511] == 11 * 512 - 1
    assert not list(tmp_path.iterdir())  # nothing is left behind, whatever happens
    with pytest.raises(UserError, match=r"take 4000000\.0 GB, .* give a search a `cache_dir`"):
        feature_rows(10**9, 10**6, tmp_path, memory=1)
