"""Which images of a set show the same pixels, whatever their files are.

A photo stored with other metadata, or saved again without loss, has another digest and is the same
to a model. Hashing the pixels of every photo would take nearly as long as decoding it, so only
images whose small looks are equal are decoded once more: equal pixels have equal looks.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from study.images.decoding import Looked

Hash = Callable[[list[Path]], list[str]]  # paths -> sha256 of their pixels


def contents(images: Sequence[tuple[Path, Looked]], hashed: Hash) -> tuple[str, ...]:
    """Digests (N) that are equal where the pixels are: the file's, or that of its pixels.

    Args:
        images: N that can be decoded.
        hashed: calls `pixel_digest` on each of some paths, in threads.
    """
    alike: dict[tuple[bytes, str], dict[str, Path]] = defaultdict(dict)
    for path, looked in images:
        alike[_look(looked)].setdefault(looked.digest, path)
    doubtful = {
        digest: path
        for files in alike.values()
        if len(files) > 1  # of different bytes
        for digest, path in files.items()
    }
    found: dict[str, str] = {}
    if doubtful:
        found = dict(zip(doubtful, hashed(list(doubtful.values())), strict=True))
    return tuple(found.get(looked.digest, looked.digest) for _, looked in images)


def _look(looked: Looked) -> tuple[bytes, str]:
    return looked.look, looked.grey.kind if looked.grey else ""
