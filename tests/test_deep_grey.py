"""Grey of 16 and 32 bits: one white point for a set, kept with the study, nodata left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from study.data.doubts import doubts
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.data.overview import overview
from study.data.pixels.decoding import decode
from study.data.pixels.deep_grey import (
    CLIPPED,
    FLOATS,
    GDAL_NODATA,
    WHOLE,
    DeepGrey,
    Scale,
    find_scales,
    measure,
    to_8_bits,
)
from study.features.backbone import load_backbone
from study.features.extract import extract_features

SIDE = 16
RAMP = np.tile(np.linspace(0, 1, SIDE), (SIDE, 1))  # black on the left, white on the right


def save(path: Path, values: np.ndarray, nodata: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if nodata:
        tags.tagtype[GDAL_NODATA] = 2  # text
        tags[GDAL_NODATA] = nodata
    Image.fromarray(values).save(path, **({"tiffinfo": tags} if nodata else {}))
    return path


def folder_of(place: Path, values: list[np.ndarray], suffix: str, nodata: str = "") -> ImageSet:
    """Two classes that take turns."""
    for number, one in enumerate(values):
        save(place / ("a", "b")[number % 2] / f"{number}{suffix}", one, nodata)
    return load_images(place)


def shown(images: ImageSet) -> dict[str, np.ndarray]:
    """File name -> its grey pixels (16, 16) as a model sees them."""
    found = {path.name: decode(path, SIDE, images.scales) for path in images.paths}
    assert all((pixels == pixels[..., :1]).all() for pixels in found.values())
    return {name: pixels[..., 0].astype(int) for name, pixels in found.items()}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(("suffix", "dtype"), [(".png", "uint16"), (".tif", ">u2"), (".tif", "i4")])
def test_white_is_that_of_the_fewest_bits_that_hold_the_set(tmp_path, bits, suffix, dtype):
    white = 2**bits - 1
    dark = (RAMP * white / 4).round().astype(dtype)
    images = folder_of(tmp_path, [(RAMP * white).round().astype(dtype), dark, dark, dark], suffix)
    assert images.scales == {WHOLE: Scale(0, white)}
    pixels = shown(images)
    assert np.abs(pixels[f"0{suffix}"][0] - 17 * np.arange(SIDE)).max() <= 1
    assert np.abs(pixels[f"1{suffix}"][0] - 17 * np.arange(SIDE) / 4).max() <= 1  # not stretched
    assert f"4 images of whole numbers, 0 is black and {white} is white ({bits} bits)" in overview(
        images
    )


def test_twelve_bits_in_a_16_bit_png_are_no_longer_black(tmp_path):
    values = [(RAMP * 4095 * part).round().astype(np.uint16) for part in (0.8, 0.9, 1, 0.7)]
    images = folder_of(tmp_path, values, ".png")
    assert [int(pixels.max()) for pixels in shown(images).values()] == [204, 255, 230, 178]
    assert decode(images.paths[0], SIDE).max() < 16  # guessed from itself alone


@pytest.mark.parametrize(("low", "high", "other"), [(0, 0.99, 1.01), (200, 254, 256), (0, 1, 256)])
def test_floats_do_not_jump_where_an_image_goes_beyond_a_number(tmp_path, low, high, other):
    values = [(low + RAMP * (end - low)).astype(np.float32) for end in (high, other) * 2]
    images = folder_of(tmp_path, values, ".tif")
    black, white = images.scales[FLOATS]
    assert low <= black < low + 0.01 * (other - low)
    assert other >= white > other - 0.01 * (other - low)
    pixels = shown(images)
    ratio = (high - low) / (other - low)
    expected = 255 * np.linspace(0, ratio, SIDE)
    assert np.abs(pixels["0.tif"][0] - expected).max() <= 3
    assert np.abs(pixels["1.tif"][0] - 17 * np.arange(SIDE)).max() <= 3


@pytest.mark.parametrize("nodata", ["-9999", "-3.4028234663852886e+38", "nan", "-1.7e308", "77"])
def test_nodata_is_black_and_spoils_nothing(tmp_path, nodata):
    values = [(200 + RAMP * 54).astype(np.float32) for _ in range(4)]
    with np.errstate(over="ignore"):
        for one in values:
            one[:8] = np.float32(nodata)
    images = folder_of(tmp_path, values, ".tif", nodata)
    black, white = images.scales[FLOATS]
    assert 199 < black < 201 and 253 < white < 255
    for pixels in shown(images).values():
        assert not pixels[:8].any()
        assert np.abs(pixels[8:] - 17 * np.arange(SIDE)).max() <= 1
    assert "pixels without a value are black (in 4 images)" in overview(images)


@pytest.mark.parametrize("value", [-9999, -32768, -3.4028235e38, np.nan, np.inf, 9.96921e36])
def test_usual_nodata_needs_no_tag(tmp_path, value):
    values = [(RAMP * 2).astype(np.float32) for _ in range(4)]
    for one in values:
        one[:8] = value
    images = folder_of(tmp_path, values, ".tif")
    assert images.scales[FLOATS].white == pytest.approx(2, abs=0.01)
    assert all(not pixels[:8].any() and pixels.max() == 255 for pixels in shown(images).values())


def test_nodata_of_whole_numbers_is_no_white(tmp_path):
    values = [(RAMP * 4000).astype(np.uint16) for _ in range(4)]
    for one in values:
        one[:8] = 65535
    images = folder_of(tmp_path, values, ".tif", "65535")
    assert images.scales == {WHOLE: Scale(0, 4095)}
    assert all(not pixels[:8].any() for pixels in shown(images).values())


def test_negative_and_large_whole_numbers_run_between_percentiles(tmp_path):
    values = [(-1000 + RAMP * 3000).astype(np.int32) for _ in range(4)]
    values[0][0, 0] = 2_000_000_000  # one hot pixel of 1,024: just above 99.9 %
    images = folder_of(tmp_path, values * 3, ".tif")
    black, white = images.scales[WHOLE]
    assert black == pytest.approx(-1000, abs=20)
    assert white == pytest.approx(2000, abs=20)
    assert shown(images)["0.tif"][0, 0] == 255


def test_an_image_without_any_value_is_flat_and_black(tmp_path):
    values = [(RAMP * 2).astype(np.float32) for _ in range(4)]
    values[3][:] = np.nan
    images = folder_of(tmp_path, values, ".tif")
    assert not shown(images)["3.tif"].any()
    assert [path.name for path in images.flat] == ["3.tif"]
    nothing = [np.full((SIDE, SIDE), -9999, np.float32)] * 4
    empty = folder_of(tmp_path / "empty", nothing, ".tif")
    assert not any(pixels.any() for pixels in shown(empty).values())
    assert len(empty.flat) == 4


def test_flat_is_what_is_flat_beside_the_others(tmp_path):
    values = [(RAMP * 1000).astype(np.float32) for _ in range(4)]
    values[1] = (500 + RAMP * 0.1).astype(np.float32)
    images = folder_of(tmp_path, values, ".tif")
    assert [path.name for path in images.flat] == ["1.tif"]
    dim = [(RAMP * 15 * (1 + n)).astype(np.uint16) for n in range(4)]  # black by the old rule
    assert folder_of(tmp_path / "dim", dim, ".png").flat == ()


def test_percentiles_of_a_set_are_found_from_the_quantiles_of_its_images():
    rng = np.random.default_rng(1)
    every = [
        rng.normal(rng.normal(0, 10), rng.uniform(1, 5), (rng.integers(20, 90), 50)).astype("f4")
        for _ in range(200)
    ]
    every[0] += 1000  # one image of 200, which holds all that is white
    black, white = find_scales([measure(DeepGrey(one, one == one)) for one in every])[FLOATS]
    pixels = np.concatenate([one.ravel() for one in every])
    assert np.mean(pixels < black) == pytest.approx(CLIPPED, abs=0.0003)
    assert np.mean(pixels > white) == pytest.approx(CLIPPED, abs=0.004)


def test_a_set_of_one_value_divides_by_nothing():
    grey = DeepGrey(np.full((4, 4), 7.5, np.float32), np.ones((4, 4), bool))
    scale = find_scales([measure(grey)])[FLOATS]
    assert not to_8_bits(grey, scale).any()


def test_whole_numbers_beside_floats_are_named(tmp_path):
    values = [(RAMP * 4095).astype(np.uint16), (RAMP * 3).astype(np.float32)] * 2
    images = folder_of(tmp_path, values, ".tif")
    assert images.scales[WHOLE] == Scale(0, 4095)
    assert images.scales[FLOATS].white == pytest.approx(3, abs=0.02)
    (line,) = [line for line in doubts(images) if "32-bit grey" in line]
    assert "whole numbers (2) and floating-point numbers (2)" in line


def test_eight_bits_are_not_touched(tmp_path):
    colours = np.random.default_rng(1).integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    for number in range(4):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", colours + np.uint8(number))
        save(tmp_path / "ab"[number % 2] / f"{number}.tif", colours[..., 0] + np.uint8(number), "0")
    images = load_images(tmp_path)
    assert (images.scales, images.greys) == ({}, {})
    assert images.feature_keys == images.digests
    for path in images.paths:
        np.testing.assert_array_equal(decode(path, SIDE, images.scales), decode(path, SIDE))


def test_sixteen_bits_are_shown_as_before_and_found_in_the_cache(tmp_path):
    values = [(RAMP * white).astype(np.uint16) for white in (65535, 30000, 20000, 100)]
    images = folder_of(tmp_path, values, ".png")
    assert images.feature_keys == images.digests
    for path in images.paths:
        np.testing.assert_array_equal(decode(path, SIDE, images.scales), decode(path, SIDE))


def test_features_of_another_white_point_are_never_taken_from_the_cache(tmp_path):
    backbone = load_backbone("random", image_size=32, preprocess="caffe", dtype="float32")
    cache = tmp_path / "cache"
    values = [(RAMP * 4095 / (1 + number)).astype(np.uint16) for number in range(4)]
    images = folder_of(tmp_path / "photos", values, ".png")
    old = replace(images, scales={WHOLE: Scale(0, 65535)})  # keys and pixels of before
    assert old.feature_keys == old.digests
    before = extract_features(old, backbone, cache_dir=cache)
    after = extract_features(images, backbone, cache_dir=cache)
    assert (before.computed, after.computed, after.cached) == (4, 4, 0)
    assert np.abs(before.features - after.features).max() > 1e-3
    save(tmp_path / "photos" / "a" / "bright.png", (RAMP * 60000).astype(np.uint16))
    more = extract_features(load_images(tmp_path / "photos"), backbone, cache_dir=cache)
    assert (more.computed, more.cached) == (1, 4)  # white is 65535 now: those of before
    rows = [row for row in range(5) if row != 2]  # a/0, a/2, a/bright, b/1, b/3
    np.testing.assert_array_equal(more.features[rows], before.features)


def test_pictures_that_are_nearly_black_are_named(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(4):
        mask = rng.integers(0, 6, (SIDE, SIDE), dtype=np.uint8)  # class numbers
        save(tmp_path / "ab"[number % 2] / f"mask{number}.png", mask)
        save(tmp_path / "ab"[number % 2] / f"dim{number}.png", mask * np.uint8(12))
        save(tmp_path / "ab"[number % 2] / f"deep{number}.png", mask.astype(np.uint16))
    save(tmp_path / "a" / "black.png", np.zeros((SIDE, SIDE), np.uint8))
    images = load_images(tmp_path)
    assert [path.name for path in images.dark] == [f"mask{number}.png" for number in (0, 2, 1, 3)]
    assert "4 images are nearly black, like label masks" in "\n".join(doubts(images))


def test_a_netpbm_of_twelve_bits_says_its_white_itself(tmp_path):
    for number in range(4):
        path = tmp_path / "ab"[number % 2] / f"{number}.pgm"
        path.parent.mkdir(exist_ok=True)
        values = (RAMP * (4095 - number)).round().astype(">u2")
        path.write_bytes(b"P5 16 16 4095\n" + values.tobytes())
    images = load_images(tmp_path)
    assert images.scales == {WHOLE: Scale(0, 65535)}
    assert shown(images)["0.pgm"].max() == 255


def test_a_deep_image_turned_by_exif_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        values = (RAMP[:, ::-1] * (4095 - number)).round().astype(np.uint16)
        Image.fromarray(np.rot90(values).copy()).save(path, exif=exif)
    images = load_images(tmp_path)
    assert shown(images)["0.png"][0, 0] == 255
    assert shown(images)["0.png"][0, -1] == 0


def test_a_nodata_tag_that_says_nothing_is_passed_over(tmp_path):
    values = [(RAMP * (number + 1)).astype(np.float32) for number in range(4)]
    images = folder_of(tmp_path, values, ".tif", "none at all")
    assert images.problems == ()
    assert images.scales[FLOATS].white == pytest.approx(4, abs=0.02)
