"""Every format and mode that Pillow writes, with the pixels that must come out."""

import importlib.util
import io
import struct
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin

from study.common.errors import UserError
from study.common.text import first_few, printable
from study.data.pixels.decoding import THUMBNAIL_BYTES, decode, inspect, pixel_digest
from study.data.pixels.deep_grey import GDAL_NODATA, depth, find_scales, is_flat
from study.data.pixels.foreign_formats import kind_in_words
from study.data.pixels.whole_jpeg import load_whole

SIDE = 16
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def quarters() -> Image.Image:
    """Red, green above; blue, black below: no turn or flip leaves it as it is."""
    image = Image.new("RGB", (SIDE, SIDE))
    for corner, colour in (((0, 0), RED), ((8, 0), GREEN), ((0, 8), BLUE)):
        image.paste(colour, (*corner, corner[0] + 8, corner[1] + 8))
    return image


def same(path: Path, expected: object, tolerance: int = 0) -> None:
    assert inspect(path).digest, inspect(path).reason
    pixels = decode(path, SIDE)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - np.asarray(expected, dtype=int))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".ico"])
def test_lossless_formats_keep_every_pixel(tmp_path, quarters, suffix):
    path = tmp_path / f"x{suffix}"
    quarters.save(path, **({"sizes": [(SIDE, SIDE)]} if suffix == ".ico" else {}))
    same(path, quarters)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".jpg", {"quality": 100, "subsampling": 0}), (".webp", {"lossless": True}), (".gif", {})],
)
def test_photo_formats_keep_the_picture(tmp_path, quarters, suffix, options):
    path = tmp_path / f"x{suffix}"
    quarters.save(path, **options)
    same(path, quarters, tolerance=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_exif_orientation_gives_the_upright_image(tmp_path, quarters, orientation, suffix):
    back = {
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }  # the others undo themselves
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        7: Image.Transpose.TRANSVERSE,
        **back,
    }
    stored = quarters.transpose(turns[orientation]) if orientation > 1 else quarters
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    lossless = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    stored.save(path, exif=exif, **lossless.get(suffix, {}))
    same(path, quarters, tolerance=4 if suffix in lossless else 0)


def test_a_photo_with_broken_exif_is_still_a_photo(tmp_path, quarters):
    path = tmp_path / "x.jpg"
    quarters.save(path, quality=100, subsampling=0, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    same(path, quarters, tolerance=4)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", "uint16"),
        (".tif", "uint16"),
        (".tif", ">u2"),
        (".pgm", "uint16"),
        (".tif", "int32"),
    ],
)
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix, dtype):
    ramp = np.linspace(0, 65535, SIDE).round().astype(dtype)  # 0, 4369, 8738 ... = 0, 17, 34 ...
    path = tmp_path / f"x{suffix}"
    if suffix == ".pgm":
        path.write_bytes(b"P5 16 16 65535\n" + np.tile(ramp, (SIDE, 1)).astype(">u2").tobytes())
    else:
        Image.fromarray(np.tile(ramp, (SIDE, 1))).save(path)
    same(path, np.broadcast_to(np.arange(SIDE)[:, None] * 17, (SIDE, SIDE, 3)))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 65535), (-3, 7), (0, 1e9)])
def test_float_grey_runs_from_black_to_white(tmp_path, low, high):
    values = np.tile(np.linspace(low, high, SIDE, dtype=np.float32), (SIDE, 1))
    Image.fromarray(values).save(tmp_path / "x.tif")
    same(tmp_path / "x.tif", np.broadcast_to(np.arange(SIDE)[:, None] * 17, (SIDE, SIDE, 3)), 1)


def test_float_pixels_that_are_no_numbers_are_black(tmp_path):
    values = np.ones((SIDE, SIDE), dtype=np.float32)
    values[:8] = np.nan
    Image.fromarray(values).save(tmp_path / "x.tif")
    expected = np.zeros((SIDE, SIDE, 3))
    expected[8:] = 255
    same(tmp_path / "x.tif", expected)


@pytest.mark.parametrize("value", [-1.0, 0.0, -1e-45, 3e38, -3e38])
def test_flat_float_pixels_of_any_size_are_decoded(tmp_path, value):
    values = np.full((SIDE, SIDE), value, dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "x.tif")
    same(tmp_path / "x.tif", np.zeros((SIDE, SIDE, 3)))
    values[0] = -value
    Image.fromarray(values).save(tmp_path / "y.tif")
    assert inspect(tmp_path / "y.tif").digest


def test_one_bit_becomes_black_and_white(tmp_path):
    image = Image.new("1", (SIDE, SIDE))
    image.paste(1, (0, 0, 8, SIDE))
    for name in ("x.png", "x.pbm", "x.tif"):
        image.save(tmp_path / name)
        expected = np.zeros((SIDE, SIDE, 3))
        expected[:, :8] = 255
        same(tmp_path / name, expected)


def test_cmyk_becomes_rgb(tmp_path):
    cyan = Image.new("CMYK", (SIDE, SIDE), (255, 0, 0, 0))
    cyan.save(tmp_path / "x.tif")
    same(tmp_path / "x.tif", np.broadcast_to((0, 255, 255), (SIDE, SIDE, 3)))
    cyan.save(tmp_path / "x.jpg", quality=100)  # Adobe's inverted kind
    same(tmp_path / "x.jpg", np.broadcast_to((0, 255, 255), (SIDE, SIDE, 3)), 3)


def test_lab_becomes_rgb(tmp_path):
    Image.new("LAB", (SIDE, SIDE), (255, 128, 128)).save(tmp_path / "x.tif")  # white
    same(tmp_path / "x.tif", np.full((SIDE, SIDE, 3), 255), 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    pixels = np.zeros((SIDE, SIDE, len(mode)), dtype=np.uint8)  # black everywhere
    pixels[:8, :, -1] = 255  # opaque above, clear below
    pixels[12:, :, -1] = 128  # half clear
    Image.fromarray(pixels, mode).save(tmp_path / "x.png")
    expected = np.full((SIDE, SIDE, 3), 255)
    expected[:8] = 0
    expected[12:] = 127
    same(tmp_path / "x.png", expected)


@pytest.mark.parametrize(
    "transparency", [1, bytes([255, 0, 255])], ids=["one colour", "alpha a colour"]
)
def test_transparent_palette_entries_are_white(tmp_path, transparency):
    image = Image.new("P", (SIDE, SIDE))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.paste(1, (0, 0, 8, SIDE))
    for name in ("x.png", "x.gif"):
        if name == "x.gif" and isinstance(transparency, bytes):
            continue  # GIF has no alpha
        image.save(tmp_path / name, transparency=transparency)
        expected = np.empty((SIDE, SIDE, 3))
        expected[:, :8] = 255
        expected[:, 8:] = RED
        same(tmp_path / name, expected)


def test_a_transparent_colour_of_rgb_or_grey_is_white(tmp_path, quarters):
    quarters.save(tmp_path / "rgb.png", transparency=(0, 0, 0))
    expected = np.asarray(quarters).copy()
    expected[8:, 8:] = 255
    same(tmp_path / "rgb.png", expected)
    Image.new("L", (SIDE, SIDE), 7).save(tmp_path / "grey.png", transparency=7)
    same(tmp_path / "grey.png", np.full((SIDE, SIDE, 3), 255))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif"])
def test_one_flat_colour_is_noticed(tmp_path, quarters, suffix):
    Image.new("RGB", (SIDE, SIDE), GREEN).save(tmp_path / f"flat{suffix}")
    assert inspect(tmp_path / f"flat{suffix}").flat
    quarters.save(tmp_path / f"x{suffix}")
    assert not inspect(tmp_path / f"x{suffix}").flat


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_the_first_frame_counts(tmp_path, suffix):
    first, second = (Image.new("RGB", (SIDE, SIDE), colour) for colour in (RED, BLUE))
    options = {"lossless": True} if suffix == ".webp" else {}
    first.save(tmp_path / f"x{suffix}", save_all=True, append_images=[second], **options)
    same(tmp_path / f"x{suffix}", first)


def test_pages_and_frames_are_counted_but_no_smaller_copies(tmp_path):
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "green", "blue")]
    for suffix in (".gif", ".tif", ".webp", ".png"):
        pages[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=pages[1:])
        assert inspect(tmp_path / f"x{suffix}").more[:3] in ("3 p", "3 f"), suffix
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "copies.tif", new=True) as file:
        for kind, page in enumerate(pages):  # the photo, a smaller copy, the next page
            page.save(file, format="TIFF", tiffinfo={254: kind % 2})
            file.newFrame()
    assert inspect(tmp_path / "copies.tif").more == "2 pages"
    assert inspect(tmp_path / "copies.tif").digest


def test_bands_beyond_red_green_and_blue_are_counted(tmp_path):
    bands = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    Image.fromarray(bands, "RGBA").save(tmp_path / "x.tif")
    tagged = (tmp_path / "x.tif").read_bytes()
    opacity, none = (struct.pack("<HHII", 338, 3, 1, kind) for kind in (2, 0))
    assert opacity in tagged
    (tmp_path / "x.tif").write_bytes(tagged.replace(opacity, none))
    same(tmp_path / "x.tif", bands[..., :3])
    assert inspect(tmp_path / "x.tif").more == "4 bands"


def test_a_large_profile_or_text_does_not_matter(tmp_path, quarters):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=True)
    quarters.save(tmp_path / "x.png", pnginfo=text, icc_profile=bytes(3_000_000))
    same(tmp_path / "x.png", quarters)
    text.add_text("bomb", "x" * (2**26 + 1), zip=True)
    quarters.save(tmp_path / "x.png", pnginfo=text)
    reason = inspect(tmp_path / "x.png").reason
    assert reason == "holds more than 67,108,864 bytes of text or profile: save it without"


def test_resizing_is_pillows_bilinear(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image.save(tmp_path / "x.png")
    expected = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    same(tmp_path / "x.png", expected)


def test_an_image_65535_pixels_wide_is_fine(tmp_path):
    Image.new("RGB", (65535, 2), RED).save(tmp_path / "wide.png")
    same(tmp_path / "wide.png", np.broadcast_to(RED, (SIDE, SIDE, 3)))


@pytest.mark.parametrize("side", [9460, 14000])  # above Pillow's warning, above its refusal
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    with warnings.catch_warnings(record=True) as caught:
        looked = inspect(tmp_path / "bomb.png")
    assert not caught
    assert not looked.digest
    assert looked.reason.startswith("has more pixels than the limit of 89,478,485")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".webp", ".tif", ".ppm"])
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_a_cut_off_file_is_a_problem(tmp_path, suffix, part):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    looked = inspect(path)
    assert looked.reason
    assert not looked.digest


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 40}, {"optimize": True}]
)
def test_a_jpeg_that_libjpeg_warns_about_is_a_problem(tmp_path, options):
    rng, path = np.random.default_rng(2), tmp_path / "x.jpg"
    noise = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    noise.resize((400, 300)).save(path, **options)
    whole, middle = path.read_bytes(), path.stat().st_size // 2
    assert inspect(path).digest
    for damaged in (
        whole[:middle] + b"\xff\xd9",
        whole[:-40] + b"\xff\xd9",
        whole[:middle] + rng.bytes(1500) + whole[middle + 1500 :],
        whole[:middle] + bytes(1500) + whole[middle + 1500 :],
    ):
        path.write_bytes(damaged)
        assert inspect(path).reason.startswith("is damaged ("), len(damaged)
    path.write_bytes(whole[:-2] + b"\0" * 4 + whole[-2:] + b"behind it")  # as cameras write it
    assert inspect(path).digest


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("side", [1, 7, 16, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_whole_jpeg_is_decoded_as_pillow_does(tmp_path, mode, side, progressive):
    pixels = np.random.default_rng(3).integers(0, 256, (side, side + 3, 4), dtype=np.uint8)
    path, image = tmp_path / "x.jpg", Image.fromarray(pixels, "RGBA").convert("RGB").convert(mode)
    image.save(path, quality=50, progressive=progressive)
    with path.open("rb") as file, Image.open(file) as opened, Image.open(path) as plain:
        assert load_whole(opened, file) == ""
        assert opened.tobytes() == plain.tobytes()


def test_reasons_are_plain_words(tmp_path, quarters):
    quarters.save(tmp_path / "good.jpg")
    good = (tmp_path / "good.jpg").read_bytes()
    cases = {
        "empty.jpg": (b"", "is empty (0 bytes)"),
        "page.jpg": (b"\n<!DOCTYPE html><p>404", "is named .jpg but holds HTML or XML"),
        "words.png": (b"hello", "is not in a supported format (JPEG, PNG, "),
        "photo.jxl": (b"\xff\x0a\0", "is a JPEG XL image: convert it to PNG, as with "),
        "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0", "is not in a supported format ("),
        "drawing.svg": (b"<svg/>", "is a drawing (SVG): draw it as PNG"),
        "brain.nii.gz": (b"\x1f\x8b\x08\0", "is a NIfTI volume: save its slices as PNG"),
        "cut.jpg": (good[: len(good) // 2], "is cut off"),
        "no_suffix": (good[:3] + b"garbage", "starts like an image, but its header is damaged"),
    }
    for name, (file, reason) in cases.items():
        (tmp_path / name).write_bytes(file)
        assert inspect(tmp_path / name).reason.startswith(reason), name
    assert inspect(tmp_path / "gone.jpg").reason == "cannot be opened (No such file or directory)"


CONTAINER = b"\0\0\0\x18ftyp%s\0\0\0\0mif1miaf"


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.heic"])
@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "is a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s7--4d7a.jpg", "is a git-annex pointer"),
        (b"%PDF-1.7", "is a PDF: "),
        (b"PK\3\4\x14\0", "is an archive or compressed: unpack it"),
        (b"\x1f\x8b\x08\0", "is an archive or compressed: unpack it"),
        (b"cats/1.jpg".ljust(257, b"\0") + b"ustar\x0000", "is an archive or compressed"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "is a video: "),
        (b"\0\0\0\x18ftypisom\0\0\2\0isommp42", "is a video: "),
        (b"\x1aE\xdf\xa3\x01", "is a video: "),
        (b"RIFF\0\0\0\0AVI LIST", "is a video: "),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "is camera raw "),
        (b"FUJIFILMCCD-RAW 0201", "is camera raw "),
        (b"II*\0\x10\0\0\0CR\2\0", "is camera raw "),
        (b"DDS |\0\0\0", "is a DDS image: convert it to PNG"),
        (b"qoif\0\0", "is a QOI image: convert it to PNG"),
        (b"\x01\xda\x01\x01", "is an SGI image: convert it to PNG"),
        (b"v/1\x01\2\0\0\0", "is an EXR image: convert it to PNG"),
        (b"\x0a\5\1\x08", "is a PCX image: convert it to PNG"),
        (b"SIMPLE  =                    T", "is a FITS image: convert it to TIFF"),
        (b"\x93NUMPY\1\0", "holds arrays of NumPy: save them as PNG"),
        (bytes(128) + b"DICM", "is a DICOM image: convert it to 16-bit PNG"),
        (bytes(344) + b"n+1\0", "is a NIfTI volume: save its slices as PNG"),
    ],
)
def test_what_is_no_image_is_recognised_by_its_first_bytes(tmp_path, name, start, words):
    (tmp_path / name).write_bytes(start + bytes(100))
    looked = inspect(tmp_path / name)
    assert looked.reason.startswith(words)
    assert not looked.digest


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="HEIC is read")
@pytest.mark.parametrize("name", ["IMG_1.heic", "IMG_1.jpg"])
@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_a_photo_of_a_phone_names_the_extra_that_reads_it(tmp_path, name, brand):
    (tmp_path / name).write_bytes(CONTAINER % brand + bytes(100))
    reason = inspect(tmp_path / name).reason
    assert reason.startswith("is a HEIC photo, which needs the extra")
    assert 'pip install -e ".[phone]"' in reason and "save the photo as JPEG" in reason
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert "pillow-heif" in " ".join(pyproject["project"]["optional-dependencies"]["phone"])


def test_an_avif_image_names_the_extra_where_pillow_was_built_without():
    words = kind_in_words(CONTAINER % b"avif")
    assert words.startswith("is an AVIF image, which needs the extra")
    assert words.endswith("or save the image as JPEG")


def test_a_photo_of_a_phone_is_read_with_the_extra(tmp_path, quarters):
    pytest.importorskip("pillow_heif").register_heif_opener()
    quarters.resize((64, 64)).save(tmp_path / "x.jpg", format="HEIF", quality=100)
    looked = inspect(tmp_path / "x.jpg")
    assert looked.digest, looked.reason
    assert looked.header.format == "HEIF"
    corners = decode(tmp_path / "x.jpg", SIDE)[[2, 2, -3, -3], [2, -3, 2, -3]].astype(int)
    assert np.abs(corners - [RED, GREEN, BLUE, (0, 0, 0)]).max() < 60


def tiff(pixels: np.ndarray, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """An uncompressed TIFF of any number of bands and bits, with more `tags` (number, value)."""
    height, width, bands = pixels.shape
    lists = {
        258: struct.pack(f"<{bands}H", *[8 * pixels.dtype.itemsize] * bands),
        339: struct.pack(f"<{bands}H", *["?uifc".index(pixels.dtype.kind)] * bands),
    }
    one = {256: width, 257: height, 259: 1, 262: 1 + (bands > 2), 277: bands, 278: height}
    one |= {279: pixels.nbytes, 273: 0, **dict(tags)}
    body, entries = 8 + 2 + 12 * (len(one) + 2) + 4, b""
    one[273] = body + 4 * bands
    for tag in sorted({*one, *lists}):
        if tag in lists:
            place = struct.pack("<I", body + (tag == 339) * 2 * bands)
            value = lists[tag].ljust(4, b"\0") if bands < 3 else place
            entries += struct.pack("<HHI", tag, 3, bands) + value
        else:
            entries += struct.pack("<HHII", tag, 4, 1, one[tag])
    start = struct.pack("<2sHIH", b"II", 42, 8, len(one) + 2)
    return start + entries + bytes(4) + lists[258] + lists[339] + pixels.tobytes()


@pytest.mark.parametrize(
    ("bands", "dtype", "words"),
    [
        (5, "u1", "with 5 bands of 8-bit numbers"),
        (13, "u2", "with 13 bands of 16-bit numbers"),
        (1, "f8", "with 1 band of 64-bit floating-point numbers"),
    ],
)
def test_a_tiff_that_is_not_supported_is_not_called_damaged(tmp_path, bands, dtype, words, capfd):
    file = tiff(np.ones((SIDE, SIDE, bands), dtype))
    (tmp_path / "x.tif").write_bytes(file)
    reason = inspect(tmp_path / "x.tif").reason
    assert reason.startswith(f"is a TIFF {words}, a kind that is not supported: save it as 8-bit")
    (tmp_path / "x.tif").write_bytes(file[:-9])
    assert inspect(tmp_path / "x.tif").reason == "is cut off"
    assert capfd.readouterr().err == ""  # nothing of Pillow's own beside it


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("x.NEF", ((254, 1), (330, 8))),  # a reduced picture, the photo in a sub-directory
        ("x.dng", ((50706, 0x401),)),
        ("x.tif", ((50706, 0x401),)),
        ("x.pef", ()),
        ("x.tif", ((262, 32803),)),
    ],
)
def test_the_preview_in_camera_raw_is_no_photo(tmp_path, name, tags):
    (tmp_path / name).write_bytes(tiff(np.ones((SIDE, SIDE, 3), "u1"), tags))
    looked = inspect(tmp_path / name)
    assert looked.reason.startswith("is camera raw (DNG, NEF, CR2 or similar), of which only the")
    assert not looked.digest


def test_a_big_tiff_is_an_image_by_its_content_and_damaged_if_it_is(tmp_path, quarters):
    quarters.save(tmp_path / "x.tif", big_tiff=True)
    content = (tmp_path / "x.tif").read_bytes()
    assert content[2:3] == b"+"
    same(tmp_path / "x.tif", quarters)
    (tmp_path / "x").write_bytes(content[:16] + bytes(90))
    assert inspect(tmp_path / "x").reason == "starts like an image, but its header is damaged"


def test_an_ordinary_tiff_with_smaller_copies_inside_is_an_image(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff(np.ones((SIDE, SIDE, 3), "u1"), ((254, 0), (330, 8))))
    same(tmp_path / "x.tif", np.ones((SIDE, SIDE, 3)))


def test_the_content_decides_not_the_name(tmp_path, quarters):
    quarters.save(tmp_path / "x.png")
    for name in ("photo.jpg", "photo.txt", "photo"):
        (tmp_path / name).write_bytes((tmp_path / "x.png").read_bytes())
        same(tmp_path / name, quarters)


@pytest.mark.parametrize("content", [b"", b"hello", b"P5 is a prefix of PGM", b"{}", b"BM", b"\0"])
def test_what_does_not_claim_to_be_an_image_is_none(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    looked = inspect(tmp_path / "notes.txt")
    assert (looked.digest, looked.claims) == ("", False)


def test_a_file_that_broke_since_the_check_is_named(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"x\.jpg .*, but was readable before: do not change"):
        decode(tmp_path / "x.jpg", SIDE)


def test_describe_reads_the_header(tmp_path):
    Image.new("RGB", (474, 569)).save(tmp_path / "x.jpg")
    assert inspect(tmp_path / "x.jpg").header == ("JPEG", (474, 569), "RGB")


def test_printable_escapes_what_misleads_and_keeps_every_script():
    assert printable("漢字 é שלום می‌خواهم 👩‍🔬 <b>'\"") == "漢字 é שלום می‌خواهم 👩‍🔬 <b>'\""
    misleading = "a\nb\x1b\x9b\u202e\u200f\udcff\u2028\u200b"
    assert printable(misleading) == misleading.encode("ascii", "backslashreplace").decode().replace(
        "\n", "\\n"
    ).replace("\x1b", "\\x1b")


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 4), dtype=np.uint8)
    grey = Image.fromarray(noise[..., :2].copy().view(np.uint16)[..., 0])
    image = grey if mode == "I;16" else Image.fromarray(noise).convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


SEEDS = [encoded(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO")]
SEEDS += [encoded("TIFF", compression=kind) for kind in ("tiff_lzw", "jpeg", "tiff_deflate")]
SEEDS += [encoded(kind, "I;16") for kind in ("PNG", "TIFF", "PPM")]
SEEDS += [encoded("PNG", mode) for mode in ("1", "LA", "RGBA")]
SEEDS += [encoded(kind, "P", transparency=3) for kind in ("PNG", "GIF")]
SEEDS += [encoded("JPEG", "CMYK"), encoded("TIFF", "CMYK"), encoded("TIFF", "F")]
SEEDS += [encoded("TIFF", kind, tiffinfo={GDAL_NODATA: "-9999"}) for kind in ("F", "I;16")]
SEEDS += [encoded("JPEG", progressive=True), encoded("JPEG", exif=b"Exif\0\0" + encoded("TIFF"))]


def test_a_jpeg_whose_end_marker_was_overwritten_is_cut_off(tmp_path):
    path = tmp_path / "end.jpg"
    path.write_bytes(encoded("JPEG")[:-2] + b"\x12\x34")
    assert inspect(path).reason == "is cut off"


@settings(max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=8)), max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 5_000)),
)
def test_a_mutated_image_is_decoded_or_a_problem(tmp_path_factory, seed, changes, cut):
    file = bytearray(seed)
    for place, new in changes:
        start = place % len(file)
        file[start : start + len(new)] = new
    check_any(tmp_path_factory, bytes(file[:cut]))


@settings(max_examples=200)
@given(head=st.sampled_from([b"", *(seed[:16] for seed in SEEDS)]), tail=st.binary(max_size=300))
def test_random_bytes_are_decoded_or_a_problem(tmp_path_factory, head, tail):
    check_any(tmp_path_factory, head + tail)


def check_any(factory: pytest.TempPathFactory, file: bytes) -> None:
    path = factory.getbasetemp() / "fuzz.jpg"
    path.write_bytes(file)
    looked = inspect(path)
    assert bool(looked.digest) != bool(looked.reason)
    assert looked.reason == printable(looked.reason)
    if looked.digest:
        assert decode(path, 8).shape == (8, 8, 3)
        assert len(pixel_digest(path)) == 64 and len(looked.thumbnail) == THUMBNAIL_BYTES
        scales = find_scales([looked.grey] if looked.grey else [])
        assert decode(path, 8, scales).shape == (8, 8, 3)
        if looked.grey:
            assert depth(looked.grey)
            flat = np.ptp(decode(path, 24, scales)) == 0
            assert flat or not is_flat(looked.grey, scales)


def test_the_first_few_names_and_how_many_more():
    assert first_few([], 2) == ""
    assert first_few(["a", "b"], 2) == "a, b"
    assert first_few([Path("a"), "b\n", "c", "d"], 2) == "a, b\\n and 2 more"
    assert first_few(iter(["a is cut off", "b", "c"]), 2, between="; ") == (
        "a is cut off; b; and 1 more"
    )
