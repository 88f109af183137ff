"""One content is what a model sees: the pixels, whatever bytes they were stored in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.data.doubts import doubts
from study.data.load_images import load_images
from study.data.overview import overview
from study.data.splits.study_splits import Splits


def photo(number: int, side: int = 24) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def folder_of(place: Path, count: int = 6) -> Path:
    """Two classes of JPEGs."""
    for number in range(count):
        path = place / "data" / ("cats", "dogs")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path, quality=90)
    return place / "data"


def with_metadata(path: Path, copy: Path) -> None:
    """The same JPEG with a comment behind its first marker."""
    data, words = path.read_bytes(), b"taken at noon"
    copy.write_bytes(data[:2] + b"\xff\xfe" + (len(words) + 2).to_bytes(2) + words + data[2:])


@pytest.mark.parametrize("way", ["bytes", "metadata", "saved again", "turned by EXIF"])
def test_equal_pixels_are_one_content_however_they_are_stored(tmp_path, way):
    folder = folder_of(tmp_path)
    first, copy = folder / "cats" / "0.jpg", folder / "dogs" / "copy.jpg"
    if way == "bytes":
        copy.write_bytes(first.read_bytes())
    elif way == "metadata":
        with_metadata(first, copy)
    elif way == "saved again":
        Image.open(first).save(copy, format="PNG")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned right to be upright
        turned = Image.open(first).transpose(Image.Transpose.ROTATE_90)
        turned.save(copy, format="PNG", exif=exif)
    images = load_images(folder)
    row, other = images.paths.index(first), images.paths.index(copy)
    assert images.contents[row] == images.contents[other]
    assert len(set(images.contents)) == 6
    assert images.units[row] == images.units[other]
    assert images.duplicates == ((first, copy),)
    assert "copies: 1" in overview(images)
    assert "the same content in several classes" in doubts(images)[0]


def test_copies_with_other_metadata_never_part_in_a_split(tmp_path):
    folder = folder_of(tmp_path, 24)
    for path in sorted(folder.rglob("*.jpg")):
        with_metadata(path, path.with_name(f"{path.stem}-copy.jpg"))
    images = load_images(folder)
    assert len(set(images.digests)) == 48
    splits = Splits(
        images, split="stratified", validation_split=0.25, test_split=0.25, seed=1, split_seed=1
    )
    for repeat in range(5):
        sides = [{images.paths[row].stem[:2] for row in part} for part in splits("search", repeat)]
        stems = [{stem.rstrip("-") for stem in side} for side in sides]
        assert all(stems)
        assert not (stems[0] & stems[1] or stems[0] & stems[2] or stems[1] & stems[2])


def test_pictures_that_differ_in_one_pixel_are_two_contents(tmp_path):
    folder = folder_of(tmp_path)
    for name, shade in (("a", 10), ("b", 11)):  # too little for the small look
        image = Image.new("RGB", (200, 200), (9, 9, 9))
        image.putpixel((50, 50), (shade, 9, 9))
        image.save(folder / "cats" / f"{name}.png")
    Image.new("RGB", (100, 400), (9, 9, 9)).save(folder / "cats" / "c.png")
    Image.new("RGB", (400, 100), (9, 9, 9)).save(folder / "cats" / "d.png")
    images = load_images(folder)
    assert len({images.thumbnails[row].tobytes() for row in range(len(images.paths))}) == 7
    assert len(set(images.contents)) == 10


def test_deep_grey_is_compared_as_it_is_stored(tmp_path):
    folder = folder_of(tmp_path)
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(folder / "cats" / "a.png")
    Image.fromarray(values).save(folder / "cats" / "same.tif")
    Image.fromarray(values.astype(np.int32)).save(folder / "cats" / "wide.tif")
    Image.fromarray(2 * values).save(folder / "cats" / "brighter.png")  # the same look
    Image.fromarray(values.astype(np.float32)).save(folder / "cats" / "float.tif")
    images = load_images(folder)
    names = {path.name: found for path, found in zip(images.paths, images.contents, strict=True)}
    assert names["a.png"] == names["same.tif"] == names["wide.tif"]
    assert len({names["a.png"], names["brighter.png"], names["float.tif"]}) == 3


def test_the_fingerprint_and_the_digests_are_those_of_the_files(tmp_path):
    folder = folder_of(tmp_path)
    before = load_images(folder)
    with_metadata(folder / "cats" / "0.jpg", folder / "cats" / "0.jpg.new")
    (folder / "cats" / "0.jpg.new").replace(folder / "cats" / "0.jpg")
    after = load_images(folder)
    assert after.digests[1:] == before.digests[1:]
    assert after.digests[0] != before.digests[0]
    assert after.fingerprint != before.fingerprint


def test_the_look_of_an_image_is_small_and_upright(tmp_path):
    folder = folder_of(tmp_path)
    image = Image.new("RGB", (34, 32))
    image.paste((255, 255, 255), (0, 0, 2, 32))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    image.transpose(Image.Transpose.ROTATE_180).save(folder / "cats" / "white.png", exif=exif)
    values = np.full((16, 17), -9999, np.float32)
    values[:, 0], values[:, 1] = 1200, 1210
    Image.fromarray(values).save(folder / "dogs" / "deep.tif")
    images = load_images(folder)
    assert images.thumbnails.shape[1] == 17 * 16 + 4 * 4 * 3
    looks = images.thumbnails[:, : 17 * 16].reshape(-1, 16, 17)
    assert looks.shape[0] == len(images.paths) == 8
    assert looks.dtype == np.uint8
    rows = {path.name: row for row, path in enumerate(images.paths)}
    assert looks[rows["white.png"], :, 0].tolist() == [255] * 16
    assert not looks[rows["white.png"], :, 1:].any()
    assert looks[rows["deep.tif"], 0, :3].tolist() == [0, 255, 0]
