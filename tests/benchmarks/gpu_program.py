"""The population program alone, on a GPU where JAX is: no TensorFlow is needed there.

    python tests/benchmarks/gpu_program.py export FOLDER [--rows 1440] [--optimizer adam]
    XLA_FLAGS=--xla_gpu_deterministic_ops=true python tests/benchmarks/gpu_program.py time FOLDER

`export` runs here: it trains 8 heads for ten epochs on this CPU, and writes what XLA is given for K
heads (`K.hlo`), in float32 as `study.common.tensorflow` wants it of a GPU. `time` needs the folder,
this file, JAX and numpy. It repeats the 8 heads K / 8 times, and prints how long compiling takes,
milliseconds an epoch and head, without and with all that goes in and out copied to the device and
back, whether a second call gives the same bits, and how far the heads end from the CPU's.
"""

import argparse
import os
import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np

FEW, EPOCHS, FEATURES, CLASSES, WIDTH = 8, 10, 512, 17, 256
LOSS, ACCURACY = 2, 3  # rows of an `as_table`: of validation


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A quarter more than `rows` features around the centre of their class, and the classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, rows + rows // 4).astype(np.int32)
    centres = 0.15 * rng.normal(size=(CLASSES, FEATURES))
    features = np.abs(rng.normal(size=(len(labels), FEATURES))) + centres[labels]
    return np.maximum(features, 0).astype(np.float32), labels


def export(folder: Path, rows: int, optimizer: str, sizes: list[int]) -> None:
    """Train `FEW` heads here; write what went in and came out, and the program of every size."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dataclasses import replace

    import tensorflow as tf

    from study.space.search_space import load_space
    from study.training.epochs import Epochs
    from study.training.population import LocalTrainer
    from study.training.runs import HeadRun, TrainingRules, TrainingTable

    tf.config.experimental.enable_tensor_float_32_execution(False)
    features, labels = data(rows)
    config = replace(load_space("default").default(optimizer), dense_width=WIDTH)
    every = np.arange(len(labels), dtype=np.int32)
    runs = [HeadRun(config, every[:rows], every[rows:], seed, EPOCHS) for seed in range(1, FEW + 1)]
    table = TrainingTable(features, labels, CLASSES)
    population = LocalTrainer(table, TrainingRules(30, [WIDTH]), FEW)
    program: Any = population.programs.of(population.signature(runs[0]), config, population._rows)
    train, run, seen = program.train, program._run, []

    def recorded(*given: Any) -> Any:
        seen.append((*given[:3], program._stacked([]), 0))
        return train(*given)

    def computed(flat: list[Any]) -> Any:
        found = run(flat)
        seen.extend((flat, found[0].numpy()))
        return found

    program.train, program._run = recorded, computed
    list(population.train(runs))
    structure, flat, curves = seen[:3]
    axes = [-1, -1, *[0] * (len(flat) - 6), 1, 1, 1, -1]  # of the heads, see `Epochs.__call__`
    inputs = {f"input{number:03d}": tensor.numpy() for number, tensor in enumerate(flat)}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "inputs.npz", axes=axes, curves=curves, **inputs)
    for size in sizes:
        epochs = Epochs(program.signature, config, program.shape._replace(size=size))
        specs = [
            tf.TensorSpec([size if at == axis else n for at, n in enumerate(one.shape)], one.dtype)
            for one, axis in zip(flat, axes, strict=True)
        ]
        (folder / f"{size}.hlo").write_bytes(_hlo(epochs, structure, specs))
    print(f"{folder}: {', '.join(map(str, sizes))} heads of {optimizer}, {rows} rows")


def _hlo(epochs: Any, structure: Any, specs: list[Any]) -> bytes:
    """What XLA is given of a program: an `HloModuleProto`."""
    import tensorflow as tf

    def whole(*given: Any) -> list[Any]:
        return list(tf.nest.flatten(epochs(*tf.nest.pack_sequence_as(structure, given))))

    compiled = tf.function(whole, jit_compile=True, autograph=False)
    found: bytes = compiled.experimental_get_compiler_ir(*specs)(stage="hlo_serialized")
    return found


def measure(folder: Path, size: int) -> None:
    """Compile and run the program of `size` heads, and print a line."""
    import jax
    from jaxlib import _jax, xla_client

    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    start = time.perf_counter()
    module = _jax.mlir.hlo_to_stablehlo((folder / f"{size}.hlo").read_bytes())
    program = device.client.compile_and_load(module, xla_client.DeviceList((device,)))
    compiling = time.perf_counter() - start
    kept = np.load(folder / "inputs.npz")
    heads = np.arange(size) % FEW
    given = [kept[f"input{number:03d}"] for number in range(len(kept["axes"]))]
    for number, axis in enumerate(kept["axes"]):
        given[number] = given[number] if axis < 0 else given[number].take(heads, axis)
    there = [jax.device_put(array, device) for array in given]

    def call(arguments: list[Any]) -> list[Any]:
        return list(jax.block_until_ready(program.execute(arguments)))

    def copied() -> list[np.ndarray]:
        return [np.asarray(one) for one in call([jax.device_put(a, device) for a in given])]

    first, second = ([np.asarray(one) for one in call(there)] for _ in range(2))
    same = all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
    epochs = int(given[-1])
    off = np.abs(first[0] - kept["curves"][..., heads])[epochs - 1].max(axis=-1)
    plain = min(timeit.repeat(lambda: call(there), number=1, repeat=3))
    whole = min(timeit.repeat(copied, number=1, repeat=3))
    a_head = 1e3 / epochs / size
    print(
        f"{device.device_kind}, K = {size:4d}: compiled in {compiling:4.1f} s, "
        f"{plain * a_head:.4f} ms, {whole * a_head:.4f} with copies; again the same: {same}; "
        f"at most {off[LOSS]:.4f} off in loss, {off[ACCURACY]:.4f} in accuracy",
        flush=True,
    )


def main(argv: list[str] | None = None) -> int:
    """Export, or measure what was exported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("export", "time"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1440)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**n for n in range(1, 10)])
    given = parser.parse_args(argv)
    if given.what == "export":
        export(given.folder, given.rows, given.optimizer, given.sizes)
    for size in given.sizes if given.what == "time" else ():
        measure(given.folder, size)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
