"""Images a second from JPEG files to cached features, against the bare forward pass.

    python tests/benchmarks/features.py            # 128 photos of 474 x 569 at 336 px, 3 rounds

Takes about 2 minutes on 2 cores. Prints, from one run: `bare` (the compiled network on one batch
in memory, nothing else), `files` (ours: read, check, decode, resize, compute, cache), the ratio of
the two, and both again in float32, the arithmetic without bfloat16. Rounds alternate between the
sides, so a busy machine slows both alike; the ratio is the median over rounds.
"""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from study.common.tensorflow import import_tensorflow
from study.data.image_set import ImageSet
from study.data.load_images import load_images
from study.features.backbone import Backbone, load_backbone
from study.features.device import Dtype, pick_device
from study.features.extract import batch_size, extract_features, forward_pass, forward_passes

WIDTH, HEIGHT = 474, 569
SEED = 7


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--size", type=int, default=336, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import_tensorflow()
    device = pick_device(None)
    print(f"{device.kind} {device.name}, {options.images} JPEGs at {options.size} px")
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos", options.images)
        images = load_images(Path(folder) / "photos")
        dtypes: tuple[Dtype, ...] = (
            ("bfloat16", "float32") if device.dtype == "bfloat16" else ("float32",)
        )
        rates = {dtype: measure(images, dtype, options.size, options.rounds) for dtype in dtypes}
    if len(rates) == 2:
        fast, slow = (rates[dtype] for dtype in dtypes)
        print(f"bfloat16 against float32, from files: {fast / slow:.2f} times")


def measure(images: ImageSet, dtype: Dtype, size: int, rounds: int) -> float:
    """Print bare and whole images/s in one dtype; returns the latter."""
    backbone = load_backbone("random", image_size=size, preprocess="caffe", dtype=dtype)
    bare, whole = [], []
    forward_rate(backbone, 1)  # oneDNN's first-time costs
    for _ in range(rounds):
        bare.append(forward_rate(backbone, len(images.paths)))
        with tempfile.TemporaryDirectory() as cache:
            result = extract_features(images, backbone, cache_dir=Path(cache))
        whole.append(result.computed / result.seconds)
    ratio = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
    rates = statistics.median(bare), statistics.median(whole)
    print(f"{dtype}: bare {rates[0]:.2f}, files {rates[1]:.2f} images/s, ratio {ratio:.1%}")
    return rates[1]


def forward_rate(backbone: Backbone, count: int) -> float:
    """Images a second of the network alone on all cores, over `count` images in whole batches."""
    forward, batch = forward_pass(backbone), batch_size(backbone)
    pixels = np.random.default_rng(SEED).integers(
        0, 256, (batch, backbone.size, backbone.size, 3), dtype=np.uint8
    )
    forward(pixels)  # traced and warm
    repeats = -(-count // batch)
    start = time.perf_counter()
    with ThreadPoolExecutor(forward_passes(backbone)) as threads:
        list(threads.map(lambda _: forward(pixels), range(repeats)))
    return repeats * batch / (time.perf_counter() - start)


def write_photos(folder: Path, count: int) -> None:
    """JPEGs in two classes with the weight of photos (about 60 kB): smooth shapes and grain."""
    rng = np.random.default_rng(SEED)
    for number in range(count):
        shapes = Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8))
        smooth = np.asarray(shapes.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        grain = rng.normal(0.0, 8.0, smooth.shape)
        path = folder / f"class{number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        Image.fromarray(photo).save(path, quality=88)


if __name__ == "__main__":
    main()
