"""An `ImageSet` in words, to be read before a study."""

from collections import Counter
from collections.abc import Iterable
from statistics import median

from study.common.text import printable
from study.images.decoding import describe
from study.images.doubts import doubts
from study.images.image_set import ImageSet


def overview(images: ImageSet) -> str:
    """Return what to know of the images before a study, as lines of text."""
    headers = [describe(path) for path in images.paths]
    widths, heights = zip(*(size for _, size, _ in headers), strict=True)
    counts = Counter(images.labels.tolist())
    copies = len(images.digests) - len(set(images.digests))
    kind, size, mode = headers[0]
    lines = [f"{len(images.paths):,} images in {len(counts)} classes in {printable(images.root)}"]
    lines += [f"  {counts[label]:6,}  {name}" for label, name in enumerate(images.class_names)]
    lines += [
        f"first image: {printable(images.paths[0])}: {kind} {size} {mode}",
        f"widths {min(widths)} to {max(widths)} (median {median(widths):.0f}), "
        f"heights {min(heights)} to {max(heights)} (median {median(heights):.0f})",
        f"formats: {_tally(kind for kind, _, _ in headers)}",
        f"modes: {_tally(mode for _, _, mode in headers)}",
        f"left out: {len(images.problems)}; ignored, no images: {images.ignored}; copies: {copies}",
    ]
    lines += [f"  {line}" for line in doubts(images)]
    return "\n".join(lines)


def _tally(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())
