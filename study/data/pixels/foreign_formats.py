"""First bytes and name of a file -> what it is, in words, and what to do: for unusable images.

Only for files that Pillow does not know, and for TIFFs, whose header camera raw shares: there
Pillow would show the small preview inside as if it were the photo.
"""

import os
from pathlib import Path
from typing import BinaryIO

from PIL import TiffImagePlugin

TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")  # the last two are BigTIFF's
RAW = (
    "is camera raw (DNG, NEF, CR2 or similar), of which only the small preview could be read: "
    "develop it to JPEG or TIFF"
)
POINTER = "is a Git LFS pointer, not the image itself: fetch the images with `git lfs pull`"
ANNEX = "is a git-annex pointer, not the image itself: fetch the images with `git annex get`"
HEIC = (
    'is a HEIC photo, which needs the extra "phone": install it with pip install -e ".[phone]" (or '
    '"optimizer-study[phone]"), or save the photo as JPEG'
)
AVIF = HEIC.replace("a HEIC photo", "an AVIF image").replace("the photo", "the image")
VIDEO = "is a video: save the frames that count as images"
ARCHIVE = "is an archive or compressed: unpack it"
ARRAY = "holds arrays of NumPy: save them as PNG, as with Pillow"
VOLUME = "is a volume (MetaImage or NRRD): save its slices as PNG, as with SimpleITK and Pillow"
NIFTI = "is a NIfTI volume: save its slices as PNG, as with nibabel and Pillow"
DICOM = "is a DICOM image: convert it to 16-bit PNG, as with pydicom or dcmj2pnm of DCMTK"
SVG = "is a drawing (SVG): draw it as PNG, as with Inkscape or rsvg-convert"


def _other_image(name: str) -> str:
    return f"is {name} image: convert it to PNG, as with ImageMagick (magick FILE FILE.png)"


# fmt: off
STARTS = {
    b"DDS ": _other_image("a DDS"), b"qoif": _other_image("a QOI"),
    b"\x01\xda\x00": _other_image("an SGI"), b"\x01\xda\x01": _other_image("an SGI"),
    b"v/1\x01": _other_image("an EXR"), b"#?RADIANCE": _other_image("an HDR"),
    b"8BPS": _other_image("a Photoshop"), b"gimp xcf": _other_image("a GIMP"),
    b"\xff\x0a": _other_image("a JPEG XL"),
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": _other_image("a JPEG XL"),
    **{bytes((10, version, 1)): _other_image("a PCX") for version in (0, 2, 3, 4, 5)},
    b"SIMPLE  =": "is a FITS image: convert it to TIFF, as with astropy and Pillow",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file: save its images as PNG, as with h5py and Pillow",
    b"\x93NUMPY": ARRAY,
    b"version https://git-lfs.github.com/": POINTER,
    b"/annex/objects/": ANNEX,
    b"%PDF-": "is a PDF: save its pages or pictures as images",
    b"PK\x03\x04": ARCHIVE, b"\x1f\x8b": ARCHIVE, b"7z\xbc\xaf\x27\x1c": ARCHIVE,
    b"Rar!\x1a\x07": ARCHIVE, b"BZh": ARCHIVE, b"\xfd7zXZ\x00": ARCHIVE,
    b"\x28\xb5\x2f\xfd": ARCHIVE,
    b"\x1aE\xdf\xa3": VIDEO, b"\x00\x00\x01\xba": VIDEO, b"\x00\x00\x01\xb3": VIDEO,
    b"FLV\x01": VIDEO, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": VIDEO,  # WMV
    b"FUJIFILMCCD-RAW": RAW, b"IIU\x00": RAW, b"IIRO": RAW, b"IIRS": RAW, b"MMOR": RAW,
    b"FOVb": RAW, b"\x00MRM": RAW, b"II\x1a\x00\x00\x00HEAPCCDR": RAW,
}
RAW_SUFFIXES = frozenset((
    ".dng", ".nef", ".nrw", ".cr2", ".arw", ".sr2", ".srf", ".pef", ".srw", ".3fr", ".iiq", ".erf",
    ".dcr", ".kdc", ".mos", ".rwl",
))
# fmt: on
BY_SUFFIX = {
    **dict.fromkeys((".nii.gz", ".nii"), NIFTI),
    **dict.fromkeys((".svg", ".svgz"), SVG),
    **dict.fromkeys((".mha", ".mhd", ".nrrd"), VOLUME),
    ".dcm": DICOM,
    ".mat": "is a MATLAB file: save its images as PNG, as with scipy.io and Pillow",
    ".npz": ARRAY,
    ".tfrecord": "is a TFRecord file: save its images as files of their own, as with TensorFlow",
    ".tga": _other_image("a TGA"),
}
# fmt: off
OTHER_SUFFIXES = frozenset((  # of what lies beside images: documents, programs, trained models
    ".txt", ".md", ".rst", ".html", ".htm", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml",
    ".yml", ".toml", ".ini", ".cfg", ".log", ".db", ".doc", ".docx", ".xls", ".xlsx", ".ppt",
    ".pptx", ".odt", ".ods", ".py", ".ipynb", ".sh", ".bat", ".m", ".r", ".pth", ".pt", ".ckpt",
    ".onnx", ".pb", ".tflite", ".keras", ".safetensors", ".pkl", ".joblib",
))
# fmt: on
HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
SUB_FILE, PHOTOMETRIC, SUB_IFDS, DNG_VERSION = 254, 262, 330, 50706  # tags of TIFF 6.0, of DNG
MOST_PAGES = 10_000  # that are counted
BITS, BANDS, KIND = 258, 277, 339
PLACES = {273: 279, 324: 325}  # where strips or tiles are -> how long each is
SENSOR = (32803, 34892)  # values of PHOTOMETRIC: pixels of a colour filter, linear raw
NUMBERS = {1: "", 2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}


def is_other(name: str) -> bool:
    """Return whether a file is named like what lies beside images and never is one."""
    return Path(name).suffix.lower() in OTHER_SUFFIXES


def kind_in_words(head: bytes, name: str = "") -> str:
    """Return what a file that starts with `head` is, to be read after its name; "" if unknown."""
    words = _of_bytes(head)
    if words not in ("", ARCHIVE):
        return words
    by_name = (words for end, words in BY_SUFFIX.items() if name.lower().endswith(end))
    return next(by_name, words)


def _of_bytes(head: bytes) -> str:
    for start, words in STARTS.items():
        if head.startswith(start):
            return words
    if head[128:132] == b"DICM":
        return DICOM
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return NIFTI
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[4:8] in (b"moov", b"mdat", b"wide") or head[:4] + head[8:12] == b"RIFFAVI ":
        return VIDEO
    return ARCHIVE if head[257:262] == b"ustar" else ""


def _of_brands(head: bytes) -> str:
    """Return what the brands of a container say: phone photos and videos share it."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}
    if head[8:12] == b"crx ":
        return RAW
    if brands & {b"avif", b"avis"}:
        return AVIF
    return HEIC if brands & HEIC_BRANDS else VIDEO


def tiff_in_words(file: BinaryIO, head: bytes, suffix: str, *, decodable: bool) -> str:
    """Return what is wrong with a TIFF, to be read after its name; "" if nothing is.

    Raises:
        Exception: of any kind, by Pillow, for a damaged header.
    """
    file.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if b"+" in head[:4] else 8))
    file.seek(tags.next)
    tags.load(file)
    if _is_raw(tags, head, suffix):
        return RAW
    if decodable:
        return ""
    if _end(tags) > file.seek(0, os.SEEK_END):
        return "is cut off"
    bands, bits = tags.get(BANDS, 1), tags[BITS][0]
    kind = NUMBERS.get(tags.get(KIND, (1,))[0], "")
    return (
        f"is a TIFF with {bands} band{'' if bands == 1 else 's'} of {bits}-bit {kind}numbers, a "
        "kind that is not supported: save it as 8-bit grey or RGB"
    )


def pages_and_bands(file: BinaryIO, head: bytes) -> tuple[int, int]:
    """Return the number of pages of a TIFF, without smaller copies and masks, and of bands."""
    file.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if b"+" in head[:4] else 8))
    pages, bands, seen = 0, 1, {0, None}
    while tags.next not in seen and len(seen) < MOST_PAGES:
        seen.add(tags.next)
        file.seek(tags.next)
        tags.load(file)
        bands = bands if pages else tags.get(BANDS, 1)
        pages += not tags.get(SUB_FILE, 0) & (1 | 4)
    return pages, bands


def _is_raw(tags: TiffImagePlugin.ImageFileDirectory_v2, head: bytes, suffix: str) -> bool:
    """Return whether it is camera raw by its tags, or by its name if it looks like any TIFF.

    NEF, ARW and similar files start with a reduced image and keep the photo in a sub-directory.
    """
    preview = tags.get(SUB_FILE, 0) & 1 and SUB_IFDS in tags
    sensor = DNG_VERSION in tags or tags.get(PHOTOMETRIC) in SENSOR
    return bool(preview or sensor or head[8:10] == b"CR" or suffix in RAW_SUFFIXES)


def _end(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    """Return where the pixels end; a `KeyError` if the header does not say where they are."""
    places = next((key for key in PLACES if key in tags), 273)
    return max(map(sum, zip(tags[places], tags[PLACES[places]], strict=False)))
