"""Small real inputs shared by the tests."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from shapes import check_shapes

check_shapes()  # before anything of `study` is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASSES = ("circles", "stripes", "дома 家")
LONGEST = (  # half a minute of a processor and more; they begin first, so no core waits at the end
    "population", "cluster", "search", "kills", "keras_code", "rows_study", "loss",
    "own_optimizers", "figures", "report", "program_cache", "metric_studies",
)  # fmt: skip

settings.register_profile("project", deadline=None)  # a test never measures time
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files go to a worker in this order (`--dist loadfile --no-loadscope-reorder`)."""
    place = {f"test_{name}": index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 12 generated pictures that a network can tell apart, noise on top."""
    root = tmp_path_factory.mktemp("pictures with spaces")
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:40, 0:40] / 40.0
    patterns = (np.hypot(x - 0.5, y - 0.5) * 4 % 1, x * 5 % 1, np.maximum(x, y) * 3 % 1)
    for name, pattern in zip(CLASSES, patterns, strict=True):
        folder = root / name
        folder.mkdir()
        for number in range(12):
            grey = 0.5 * pattern + 0.5 * rng.random((40, 40))
            tint = rng.uniform(0.6, 1.0, 3)
            pixels = (grey[..., None] * tint * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return root
