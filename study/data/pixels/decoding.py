"""One image file -> RGB pixels: the only place where Pillow decodes anything.

Rules, for every mode and format:
- the first frame counts; the EXIF orientation is applied; colour profiles are not;
- transparency is laid on white, as a page or a browser would show it;
- grey of 16 and 32 bits is scaled to 8 bits by the white point of the whole data set: see
  `deep_grey`;
- a cut-off or damaged file is not an image, and neither is one with more pixels than Pillow's
  warning limit (89 million): it is refused before a pixel is decoded;
- camera raw is refused: Pillow would take the small preview inside for the photo;
- HEIC needs pillow-heif, the extra `phone`;
- formats that can run programs or hold no raster (EPS, PDF, WMF ...) are not opened at all.

Near-duplicates are found by thumbnails so small that those of a million images fit into memory.
"""

import contextlib
import errno
import functools
import hashlib
import importlib.util
import io
import logging
import math
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from study.common.errors import UserError
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
from study.data.pixels.foreign_formats import (
    AVIF,
    HEIC,
    TIFF,
    is_other,
    kind_in_words,
    pages_and_bands,
    tiff_in_words,
)
from study.data.pixels.whole_jpeg import CUT_OFF, load_whole

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO")
FILMS = ("GIF", "PNG", "WEBP", "AVIF")  # formats whose files may hold several frames
# A file with such a name claims to be an image, whether it can be read here or not.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff",
     ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".avif", ".jp2", ".j2k", ".jpx", ".ico",
     ".heic", ".heif", ".tga", ".psd", ".eps", ".svg", ".dng", ".cr2", ".nef", ".arw", ".jxl")
)  # fmt: skip
MOST_TEXT = 2**26  # bytes of a profile or text in a PNG, which Pillow unpacks, used or not
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *TIFF)
WHITE = (255, 255, 255, 255)
SMALL = 2**20  # bytes of a file that is read at once
ORIENTATION = 0x0112  # EXIF tag
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
BETWEEN = (4 * SHADES[0], 4 * SHADES[1])  # a multiple of both
LARGE = 16  # times `BETWEEN`; the box filter counts whole pixels, so with fewer it is less exact


class StoredAs(NamedTuple):
    """How an image is stored, in Pillow's words."""

    format: str
    size: tuple[int, int]  # width, height, before it is turned upright
    mode: str


class Inspected(NamedTuple):
    """What `inspect` found: an image (a digest), or why it cannot be used (a reason)."""

    digest: str = ""  # sha256 of the file's bytes, hex
    reason: str = ""  # to be read after its name: "is cut off"
    claims: bool = True  # to be an image, by its name or its first bytes
    flat: bool = False  # one colour everywhere, as a white icon on transparency; not of deep grey
    header: StoredAs = StoredAs("", (0, 0), "")
    thumbnail: bytes = b""  # see `thumbnail`
    grey: GreyRange | None = None  # of deep grey
    more: str = ""  # pages, frames or bands of which only the first are used: "3 pages"
    veiled: bool = False  # its opacity differs from pixel to pixel


class UnusableImageError(Exception):
    """A file claims to be an image and cannot be used; the message is the reason."""


def decode(path: Path, size: int, scales: Scales | None = None) -> UInt8[np.ndarray, "size size 3"]:
    """Return the image in RGB, resized bilinearly (antialiased by Pillow).

    Deep grey of a kind without a white point in `scales` is scaled by itself.

    Raises:
        UserError: the file has changed since `load_images` and cannot be decoded.
    """
    with _of_file(path) as image:
        resized = _to_rgb(image, scales).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(resized)


def pixel_digest(path: Path) -> str:
    """Return the sha256 of the decoded upright pixels and their size; deep grey as it is stored."""
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
            f"{path} {_in_words(error)}, but was readable before: do not change images "
            "while a study runs, and start it again"
        ) from error


def inspect(path: Path) -> Inspected:
    """Decode the whole file once and forget the pixels; never raise for what a file contains.

    The content decides, not the name: a JPEG called `.png` or `.txt` is an image. A file that
    Pillow does not know is a broken image if its suffix or its first bytes claim that it is one.
    """
    claims = path.suffix.lower() in SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait forever
            return Inspected(reason="is not a regular file")
        with path.open("rb") as raw:
            small = os.fstat(raw.fileno()).st_size <= SMALL
            file = io.BytesIO(raw.read(SMALL)) if small else raw  # decoders read in many pieces
            head = file.read(512)
            kind = "" if is_other(path.name) else kind_in_words(head, path.name)
            claims = claims or _starts_like_image(head) or bool(kind)
            if not head:
                raise UnusableImageError("is empty (0 bytes)")
            try:
                image = _open(file)
            except UnidentifiedImageError:
                raise UnusableImageError(_why_unknown(path, file, head, kind)) from None
            with image:
                claims = True
                _refuse_raw(path, file, head)
                more = _too_much(image, file, head)
                if image.format in ("JPEG", "MPO") and (wrong := load_whole(image, file)):
                    raise UnusableImageError(wrong)
                found = _measured(image)._replace(more=more)
            file.seek(0)
            return found._replace(digest=hashlib.file_digest(file, "sha256").hexdigest())
    except Exception as error:  # decoders raise nearly every kind of exception on hostile bytes
        unreadable = isinstance(error, OSError) and error.errno is not None
        return Inspected(reason=_in_words(error), claims=claims or unreadable)


def _starts_like_image(head: bytes) -> bool:
    return head.startswith(MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _why_unknown(path: Path, file: BinaryIO, head: bytes, kind: str) -> str:
    """Return why Pillow does not know a file of a kind, to be read after its name."""
    known = _known_formats()
    if kind and not (kind == HEIC and "HEIF" in known) and not (kind == AVIF and "AVIF" in known):
        return kind
    if head.lstrip().startswith(b"<"):
        return f"is named {path.suffix} but holds HTML or XML"
    if head.startswith(TIFF):
        with contextlib.suppress(Exception):  # a header that cannot be read is a damaged one
            return tiff_in_words(file, head, path.suffix.lower(), decodable=False)
    if kind or _starts_like_image(head):
        return "starts like an image, but its header is damaged"
    return f"is not in a supported format ({', '.join(known)}): convert it to PNG"


def _refuse_raw(path: Path, file: BinaryIO, head: bytes) -> None:
    if head.startswith(TIFF):
        place = file.tell()  # Pillow decodes from here on
        if wrong := tiff_in_words(file, head, path.suffix.lower(), decodable=True):
            raise UnusableImageError(wrong)
        file.seek(place)


def _too_much(image: ImageFile, file: BinaryIO, head: bytes) -> str:
    """Return how many pages, frames or bands there are if not all are used, in words."""
    place, pages, bands, noun = file.tell(), 1, 1, "frames"
    with contextlib.suppress(Exception):  # whatever is behind the first page does not matter
        if head.startswith(TIFF):
            noun, pages, bands = "pages", *pages_and_bands(file, head)
        elif image.format in FILMS:
            pages = getattr(image, "n_frames", 1)
    file.seek(place)
    more = f"{bands:,} bands" if bands > len(image.getbands()) else ""
    return f"{pages:,} {noun}" if pages > 1 else more


def _measured(image: Image.Image) -> Inspected:
    header = StoredAs(str(image.format), image.size, image.mode)
    image.load()
    if not is_deep(image):
        rgb = _to_rgb(image)
        one_colour = rgb.getcolors(1) is not None  # None: more than one
        layers = image.mode in ("RGBA", "LA", "PA")
        veiled = layers and len(set(image.getchannel("A").getextrema())) > 1
        return Inspected(flat=one_colour, header=header, thumbnail=thumbnail(rgb), veiled=veiled)
    grey = deep_grey(image)
    shown = _upright(Image.fromarray(stretched(grey)), image)
    return Inspected(header=header, thumbnail=thumbnail(shown), grey=measure(grey))


def thumbnail(image: Image.Image) -> bytes:
    """Return 17 x 16 shades of grey, then 4 x 4 RGB colours: `THUMBNAIL_BYTES`, row by row.

    The filter is a box, so that every pixel counts equally; large images are made smaller first:
    13 ms instead of 22 for 12 megapixels, and a shade differs by at most 1 of 255. The image is
    upright, in RGB or 8-bit grey.
    """
    if image.width >= LARGE * BETWEEN[0] and image.height >= LARGE * BETWEEN[1]:
        image = image.resize(BETWEEN, Image.Resampling.BOX)
    shades = image.convert("L").resize(SHADES, Image.Resampling.BOX)
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    return shades.tobytes() + rgb.resize(COLOURS, Image.Resampling.BOX).tobytes()


def _open(file: BinaryIO) -> ImageFile:
    """Identify the image, decode nothing yet, refuse a bomb."""
    _silence_pillow()
    image = Image.open(file, formats=_known_formats())
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise Image.DecompressionBombError(f"{width} x {height}")
    return image


def _silence_pillow() -> None:
    """Ignore Pillow's warnings and log from now on: our own errors report what matters.

    `warnings.catch_warnings` would be tidier, but it is not safe in threads.
    """
    pattern = r"PIL\."
    if not any(getattr(entry[3], "pattern", None) == pattern for entry in warnings.filters):
        logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs what it refuses
        warnings.filterwarnings("ignore", module=pattern)


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = MOST_TEXT, 4 * MOST_TEXT
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif  # the extra `phone`

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF depends on the build


def _to_rgb(image: Image.Image, scales: Scales | None = None) -> Image.Image:
    """Decode, turn upright, and bring to RGB whatever the mode is."""
    image.load()
    stored = image
    if is_deep(image):
        grey = deep_grey(image)
        scale = (scales or {}).get(grey.kind)
        shown = to_8_bits(grey, scale) if scale else guessed_8_bits(np.asarray(image))
        image = Image.fromarray(shown)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return _upright(image, stored)


def _upright(image: Image.Image, stored: Image.Image) -> Image.Image:
    try:
        turn = UPRIGHT.get(int(stored.getexif().get(ORIENTATION, 1)))
    except Exception:  # broken EXIF raises anything, and the image is still an image
        return image
    return image if turn is None else image.transpose(turn)


def _in_words(error: Exception) -> str:
    text = str(error)
    if isinstance(error, UnusableImageError):
        return text
    if isinstance(error, Image.DecompressionBombError):
        return f"has more pixels than the limit of {Image.MAX_IMAGE_PIXELS:,}: make it smaller"
    if "MAX_TEXT" in text:
        return f"holds more than {MOST_TEXT:,} bytes of text or profile: save it without"
    if "raw mode" in text:
        return "is stored in a way that is not supported: save it as 8-bit grey or RGB"
    if isinstance(error, MemoryError):
        return "needs more memory than is available"
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return f"cannot be opened ({error.strerror})"
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return CUT_OFF
    return f"cannot be decoded ({text[:200] or type(error).__name__})"
