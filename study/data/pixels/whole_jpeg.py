"""A JPEG file -> its pixels, or what is damaged in it where libjpeg only warns.

A JPEG that was cut off and closed again, or overwritten in the middle, is decoded to half a picture
and grey, and Pillow shows none of libjpeg's warnings. But its decoder says how many bytes it took:
it takes none before it has all bits of a block of pixels, and each at once while it looks for the
next marker. So bytes near the end of each scan are handed over one by one, and then some that do
not belong there. A whole scan needs the former, and none of the latter.
"""

import re
from collections.abc import Sequence
from typing import Any, BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

MARKER = re.compile(rb"\xff([^\x00\xff])")  # a stuffed zero is no marker
RESTARTS, START, END, SCAN = range(0xD0, 0xD8), 0xD8, 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
HUFFMAN, PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2  # frames with codes that are checked
SPARE = 8  # bytes before the end of a scan that may be padding, as some cameras write it
AHEAD = bytes(8)  # what the decoder reads before it needs it
INTERVAL = 1024  # bytes between two checks where there are restart markers
MOST_BYTES = 2**26  # of a file that is checked; 89 megapixels are rarely more
CUT_OFF = "is cut off"
DAMAGED = (
    "is damaged (its pixels end early or contradict each other): copy it from its source again"
)


def load_whole(image: ImageFile, file: BinaryIO) -> str:
    """Decode an opened JPEG; return what is wrong with it, to be read after its name, or ""."""
    file.seek(0)
    data = file.read(MOST_BYTES + 1)
    file.seek(0)
    try:
        huffman, complete, stretches = _scans(data)
    except LookupError:  # a segment that is too short, a component without a frame
        return DAMAGED
    if not huffman or len(data) > MOST_BYTES:
        image.load()
        return ""
    image.load_prepare()
    _, extents, _, arguments = image.tile[0]
    decoder = Image._getdecoder(image.mode, "jpeg", arguments, image.decoderconfig)
    decoder.setimage(image.im, extents)
    try:
        wrong = _decode(decoder, data, stretches)
    finally:
        decoder.cleanup()
    image.tile = []  # nothing is left to load
    if not wrong and data[stretches[-1][1] :][:2] != bytes([0xFF, END]):
        with Image.open(file) as again:  # Pillow may refuse what stands in place of the end
            again.load()
        file.seek(0)
    return wrong or ("" if complete else DAMAGED)


def _scans(data: bytes) -> tuple[bool, bool, list[tuple[int, int]]]:
    """Return whether it has Huffman codes, whether it is complete, and its stretches.

    A stretch is where pixels begin, and the byte after them. In a complete file all coefficients
    are there to their last bit, and all restart markers in order.
    """
    frame, in_order, at = 0, True, 0
    stretches: list[tuple[int, int]] = []
    missing: dict[int, list[int]] = {}  # component -> bits that its 64 coefficients lack
    while (found := MARKER.search(data, at)) and found[1][0] != END:
        kind, at = found[1][0], found.end()
        if kind == START:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        at += length
        if kind in FRAMES:
            frame = kind
            missing = {body[6 + 3 * place]: [1] * 64 for place in range(body[5])}
        elif kind == SCAN:
            first, last, bits = body[-3:] if frame == PROGRESSIVE else (0, 63, 0)
            for component in body[1 : 2 * body[0] : 2]:
                missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)
            inside, sorted_ = _stretches(data, at)
            in_order &= sorted_
            stretches += inside
            at = stretches[-1][1]
    complete = in_order and not any(map(any, missing.values()))
    return frame in HUFFMAN, complete, stretches


def _stretches(data: bytes, begin: int) -> tuple[list[tuple[int, int]], bool]:
    """Return the stretches of a scan, and whether its restart markers are in order."""
    found, in_order, end = [], True, len(data)
    for number, marker in enumerate(MARKER.finditer(data, begin)):
        if marker[1][0] not in RESTARTS:
            end = marker.start()
            break
        in_order &= marker[1][0] == RESTARTS[number % len(RESTARTS)]
        if marker.start() - begin >= INTERVAL:
            found.append((begin, marker.start()))
            begin = marker.end()
    return [*found, (begin, end)], in_order


def _decode(decoder: Any, data: bytes, stretches: Sequence[tuple[int, int]]) -> str:
    """Hand all bytes to the decoder; return what is wrong with them, or ""."""
    waiting, done, at = b"", False, 0

    def waits(more: bytes) -> bool:
        """Return whether the decoder lacks bits for a block of pixels."""
        nonlocal waiting, done
        if not done:
            waiting += more
            taken, error = decoder.decode(waiting)
            done = taken < 0
            if error < 0:
                raise OSError(f"decoder error {error}")
            waiting = b"" if done else waiting[taken:]
        return bool(waiting)

    for begin, end in stretches:
        last = data[max(begin, end - SPARE) : end]
        waits(data[at : end - len(last)])
        needed = [waits(last[:1]), waits(last[1:2])]
        waits(last[2:] + AHEAD)
        beyond = [waits(b"\0") for _ in range(3)]
        if any(beyond) or (len(last) == SPARE and not any(needed)):
            return DAMAGED if end < len(data) else CUT_OFF
        at = end
    waits(data[at:])
    return "" if done else CUT_OFF
