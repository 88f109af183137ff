"""Peak memory of a whole study against its number of repeats: how much it grows with them.

    python tests/benchmarks/memory.py [--repeats 1 5 20] [--optimizers adam,sgd] [--max-epochs 30]

Each study is the search command in a process of its own, with the default space, on the built-in
faces, and one with synthetic rows: 1,800 of 512 numbers, 17 classes. Peak memory is the largest
resident set of the process, libraries included; a line also says what is beyond a process that has
only imported them. Compiled programs stay, one or two for each optimizer: about 12 MiB each where
the cache folder has them, about 22 where they are compiled now.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROWS, FEATURES, CLASSES = 1800, 512, 17
MIB = 2**20
IMPORTS = "from study.common.tensorflow import import_tensorflow; import_tensorflow()"


def peak(command: Sequence[str]) -> float:
    """MiB of the largest resident set of a Python process."""
    with tempfile.TemporaryFile() as printed:
        child = subprocess.Popen([sys.executable, *command], stdout=printed, stderr=printed)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            printed.seek(0)
            sys.exit(printed.read().decode(errors="replace"))
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB


def of_study(folder: Path, name: str, repeats: int, options: argparse.Namespace) -> float:
    """Peak of a study in `folder`; of rows if there are any under its name."""
    command = ["-m", "study.search", "--space", "default", "--tuner", "hyperband"]
    command += ["--logs", str(folder), "--name", f"{name}{repeats}", "--repeats", str(repeats)]
    command += ["--max-epochs", str(options.max_epochs)]
    if options.optimizers:
        command += ["--optimizers", options.optimizers]
    rows = folder / f"{name}.npz"
    return peak([*command, "--features", str(rows)] if rows.exists() else command)


def write_rows(path: Path) -> float:
    """Rows that an optimizer can tell apart; their MiB."""
    rng = np.random.default_rng(1)
    labels = np.arange(ROWS) % CLASSES
    rows = rng.normal(size=(CLASSES, FEATURES))[labels] + rng.normal(
        scale=6.0, size=(ROWS, FEATURES)
    )
    np.savez(path, x=rows.astype(np.float32), y=labels)
    return ROWS * FEATURES * 4 / MIB


def main() -> None:
    """Print a line for each study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--optimizers")
    parser.add_argument("--max-epochs", type=int, default=30)
    options = parser.parse_args()
    libraries = peak(["-c", IMPORTS])
    print(f"libraries alone: {libraries:,.0f} MiB", flush=True)
    first = None
    for repeats in options.repeats:
        with tempfile.TemporaryDirectory() as folder:
            found = of_study(Path(folder), "faces", repeats, options)
        first = first or found
        print(
            f"faces, {repeats:2} repeat(s): peak {found:6,.0f} MiB, "
            f"{found - libraries:6,.0f} beyond the libraries, {found / first:.2f} of the first",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(Path(folder) / "rows.npz")
        found = of_study(Path(folder), "rows", options.repeats[0], options)
    print(
        f"{ROWS:,} rows, {options.repeats[0]} repeat(s): peak {found:6,.0f} MiB, "
        f"{found - rows:6,.0f} beyond the rows"
    )


if __name__ == "__main__":
    main()
