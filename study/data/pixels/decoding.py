"""One image file -> RGB pixels: the only place where Pillow is asked to decode anything.

Rules, for every mode and format:
- the first frame counts; the EXIF orientation is applied; colour profiles are not;
- transparency is laid on white, as a page or a browser would show it;
- grey of 16 and 32 bits is scaled to 8 bits by the white point of the whole data set: see
  `deep_grey`;
- a cut-off file is no image, and neither is one with more pixels than Pillow's warning limit
  (89 million): it is refused before a pixel is decoded;
- camera raw is refused: Pillow would take the small preview inside for the photo;
- HEIC needs pillow-heif, the extra `phone`;
- formats that can run programs or hold no raster (EPS, PDF, WMF ...) are not opened at all.

An image made so small that a million fit into the memory: what near copies are found by.
"""

import contextlib
import errno
import functools
import hashlib
import importlib.util
import logging
import math
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from study.common.errors import UserError
from study.common.text import printable
from study.data.pixels.deep_grey import (
    GreyRange,
    Scales,
    deep_grey,
    guessed_8_bits,
    is_deep,
    marked,
    measure,
    stretched,
    to_8_bits,
)
from study.data.pixels.foreign_formats import AVIF, HEIC, TIFF, kind_in_words, tiff_in_words

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO")

# A file named so claims to be an image, whether it is read here or not.
# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".avif", ".jp2", ".j2k", ".jpx", ".ico",
    ".heic", ".heif", ".tga", ".psd", ".eps", ".svg", ".dng", ".cr2", ".nef", ".arw", ".jxl",
))

# fmt: on
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *TIFF)
WHITE = (255, 255, 255, 255)
UPRIGHT = {  # EXIF orientation -> what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SHADES, COLOURS = (17, 16), (4, 4)  # width, height
THUMBNAIL_BYTES = math.prod(SHADES) + 3 * math.prod(COLOURS)
BETWEEN = (4 * SHADES[0], 4 * SHADES[1])  # divided by both without a rest
LARGE = 16  # times `BETWEEN`; the box filter counts whole pixels, so of fewer it is less exact


def thumbnail(image: Image.Image) -> bytes:
    """17 x 16 shades of grey, then 4 x 4 RGB colours: `THUMBNAIL_BYTES` bytes, row by row.

    Box-filtered, so that every pixel counts alike; of large images by way of a smaller one: 13 ms
    in place of 22 for 12 megapixels, and a shade is at most 1 of 255 another.

    Args:
        image: upright, RGB or 8-bit grey.
    """
    if image.width >= LARGE * BETWEEN[0] and image.height >= LARGE * BETWEEN[1]:
        image = image.resize(BETWEEN, Image.Resampling.BOX)
    shades = image.convert("L").resize(SHADES, Image.Resampling.BOX)
    return shades.tobytes() + image.convert("RGB").resize(COLOURS, Image.Resampling.BOX).tobytes()


class StoredAs(NamedTuple):
    """How an image is stored, in Pillow's words."""

    format: str
    size: tuple[int, int]  # width, height, before it is turned upright
    mode: str


class Inspected(NamedTuple):
    """What `inspect` found: an image (a digest), a broken one (a reason), or no image (neither)."""

    digest: str = ""  # sha256 of the file's bytes, hex
    reason: str = ""  # why it cannot be used, to be read after its name: "is cut off"
    flat: bool = False  # one colour everywhere, as a white icon on transparency; not of deep grey
    header: StoredAs = StoredAs("", (0, 0), "")
    thumbnail: bytes = b""  # the image made small, see `thumbnail`
    grey: GreyRange | None = None  # of deep grey


class UnusableImageError(Exception):
    """The file claims to be an image and cannot be used; the message says why."""


def decode(path: Path, size: int, scales: Scales | None = None) -> np.ndarray:
    """Return the image as `(size, size, 3)` uint8 RGB, resized bilinearly (antialiased by Pillow).

    Args:
        path: of the image.
        size: side in pixels.
        scales: white points of deep grey; without that of its kind an image is scaled by itself.

    Raises `UserError` where the file cannot be decoded, which `load_images` has ruled out unless
    the file was changed since.
    """
    with _of_file(path) as image:
        resized = _to_rgb(image, scales).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(resized)  # (size, size, 3)


def pixel_digest(path: Path) -> str:
    """Sha256 of the decoded upright pixels and their size; of deep grey as it is stored.

    Raises `UserError` as `decode` does.
    """
    with _of_file(path) as image:
        if is_deep(image):
            image.load()
            pixels = _upright(Image.fromarray(marked(deep_grey(image))), image)
        else:
            pixels = _to_rgb(image)
    found = hashlib.sha256(f"{pixels.mode} {pixels.size}".encode())
    found.update(pixels.tobytes())
    return found.hexdigest()


@contextlib.contextmanager
def _of_file(path: Path) -> Iterator[Image.Image]:
    try:
        with path.open("rb") as file, _open(file) as image:
            yield image
    except Exception as error:  # whatever a decoder raises, the cause is this file
        raise UserError(
            f"{printable(path)} {_in_words(error)}; it was readable before: leave the images alone "
            "while a study runs, and start it again"
        ) from error


def inspect(path: Path) -> Inspected:
    """Decode the whole file once and forget the pixels; never raises for what a file contains.

    What it holds decides, not its name: a JPEG called `.png` or `.txt` is an image. A file that
    Pillow does not know is a broken image if its suffix or its first bytes say image, else none.
    """
    claims = path.suffix.lower() in SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return Inspected(reason="is no regular file")
        with path.open("rb") as file:
            head = file.read(512)
            claims = claims or head.startswith(MAGIC) or _is_webp(head) or bool(kind_in_words(head))
            if not head:
                raise UnusableImageError("is empty (0 bytes)")
            try:
                image = _open(file)
            except UnidentifiedImageError:
                raise UnusableImageError(_unknown(path, file, head)) from None
            with image:
                claims = True
                _refuse_raw(path, file, head)
                looked = _look(image)
            file.seek(0)
            return looked._replace(digest=hashlib.file_digest(file, "sha256").hexdigest())
    except Exception as error:  # decoders raise nearly every kind of exception on hostile bytes
        unreadable = isinstance(error, OSError) and error.errno is not None
        return Inspected(reason=_in_words(error)) if claims or unreadable else Inspected()


def _look(image: Image.Image) -> Inspected:
    header = StoredAs(str(image.format), image.size, image.mode)
    image.load()
    grey = deep_grey(image) if is_deep(image) else None
    rgb = _to_rgb(image) if grey is None else _upright(Image.fromarray(stretched(grey)), image)
    return Inspected(
        flat=grey is None and rgb.getcolors(1) is not None,  # None: more than one
        header=header,
        thumbnail=thumbnail(rgb),
        grey=None if grey is None else measure(grey),
    )


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif  # the extra `phone`

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF depends on the build


def _open(file: BinaryIO) -> Image.Image:
    """Identify the image, decode nothing yet, refuse a bomb."""
    _silence_pillow()
    image = Image.open(file, formats=_known_formats())
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS or width * height
    if width * height > limit:
        image.close()
        raise Image.DecompressionBombError(f"{width} x {height}")
    return image


def _silence_pillow() -> None:
    """Ignore Pillow's warnings and log from now on: what matters is refused in our own words.

    `warnings.catch_warnings` would be tidier, but it is not safe in threads.
    """
    pattern = r"PIL\."
    if not any(getattr(entry[3], "pattern", None) == pattern for entry in warnings.filters):
        logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs what it refuses
        warnings.filterwarnings("ignore", module=pattern)


def _to_rgb(image: Image.Image, scales: Scales | None = None) -> Image.Image:
    """Decode, turn upright, and bring to RGB whatever the mode is."""
    image.load()
    stored = image
    if is_deep(image):
        image = Image.fromarray(_shown(image, scales))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return _upright(image, stored)


def _shown(image: Image.Image, scales: Scales | None) -> np.ndarray:
    """Deep grey as (height, width) uint8."""
    grey = deep_grey(image)
    if scales and grey.kind in scales:
        return to_8_bits(grey, scales[grey.kind])
    return guessed_8_bits(np.asarray(image))


def _upright(image: Image.Image, stored: Image.Image) -> Image.Image:
    turn = UPRIGHT.get(_orientation(stored))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF raises anything, and its picture is still a picture
        return 1


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _refuse_raw(path: Path, file: BinaryIO, head: bytes) -> None:
    if not head.startswith(TIFF):
        return
    place = file.tell()  # Pillow decodes from here on
    if wrong := tiff_in_words(file, head, path.suffix.lower(), decodable=True):
        raise UnusableImageError(wrong)
    file.seek(place)


def _unknown(path: Path, file: BinaryIO, head: bytes) -> str:
    """Why Pillow does not know it, after its name."""
    kind, known = kind_in_words(head), _known_formats()
    if kind and not (kind == HEIC and "HEIF" in known) and not (kind == AVIF and "AVIF" in known):
        return kind
    if head.lstrip().startswith(b"<") and path.suffix.lower() != ".svg":
        return f"is named {path.suffix} but holds HTML or XML"
    if head.startswith(TIFF):
        with contextlib.suppress(Exception):  # a header that cannot be read is a damaged one
            return tiff_in_words(file, head, path.suffix.lower(), decodable=False)
    if kind or head.startswith(MAGIC) or _is_webp(head):
        return "begins like an image but its header is damaged"
    return f"is in no format that is read here ({', '.join(known)})"


def _in_words(error: Exception) -> str:
    text = printable(str(error))
    if isinstance(error, UnusableImageError):
        return text
    if isinstance(error, Image.DecompressionBombError):
        return f"has more pixels than the limit of {Image.MAX_IMAGE_PIXELS:,}: make it smaller"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return f"cannot be opened ({error.strerror})"
    if isinstance(error, EOFError) or "truncated" in text or "Truncated" in text:
        return "is cut off"
    return f"cannot be decoded ({text[:200] or type(error).__name__})"
