"""An image made so small that a million fit into the memory: what near copies are found by."""

import math

from PIL import Image

SHADES, COLOURS = (17, 16), (4, 4)  # width, height
LOOK_BYTES = math.prod(SHADES) + 3 * math.prod(COLOURS)
BETWEEN = (4 * SHADES[0], 4 * SHADES[1])  # divided by both without a rest
LARGE = 16  # times `BETWEEN`; the box filter counts whole pixels, so of fewer it is less exact


def small_look(image: Image.Image) -> bytes:
    """17 x 16 shades of grey, then 4 x 4 RGB colours: `LOOK_BYTES` bytes, row by row.

    Box-filtered, so that every pixel counts alike; of large images by way of a smaller one: 13 ms
    in place of 22 for 12 megapixels, and a shade is at most 1 of 255 another.

    Args:
        image: upright, RGB or 8-bit grey.
    """
    if image.width >= LARGE * BETWEEN[0] and image.height >= LARGE * BETWEEN[1]:
        image = image.resize(BETWEEN, Image.Resampling.BOX)
    shades = image.convert("L").resize(SHADES, Image.Resampling.BOX)
    return shades.tobytes() + image.convert("RGB").resize(COLOURS, Image.Resampling.BOX).tobytes()
