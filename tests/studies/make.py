"""Make the studies of this folder anew, with the program itself; takes about a minute.

    python tests/studies/make.py

    faces    images (the built-in faces), Hyperband, an optimizer of the user's
    rows     a .npz file with groups, judged by balanced accuracy, five repeats and so verdicts
    table    a table of labels with groups, one joint search

They are what the search writes, less what no report needs. Whoever changes the format of a study
raises `FORMAT`, runs this, and tells the changelog.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from study.search import main

HERE = Path(__file__).absolute().parent
NEEDED = ("study.json", "trials.jsonl", "predicted.jsonl", "best/predictions.json")
SIGN_MOMENTUM = '''
import keras
from keras import ops


class SignMomentum(keras.optimizers.Optimizer):
    """The sign of a moving average of gradients."""

    def __init__(self, learning_rate=1e-3, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        super().build(variables)
        self.averages = [self.add_variable_from_reference(v, "average") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        average = self.averages[self._get_variable_index(variable)]
        average.assign(self.momentum * average + (1 - self.momentum) * gradient)
        self.assign_sub(variable, learning_rate * ops.sign(average))
'''
SPACE = """
[head]
dense_width = {choices = [16, 32]}
dropout = {min = 0.0, max = 0.6}
batch_size = 8
normalize = true

[schedules.constant]

[schedules.cosine]
final_factor = {min = 1e-3, max = 1.0, scale = "log"}
warmup = {choices = [0.0, 0.1]}

[optimizers.sgd]
class = "SGD"
learning_rate = {min = 1e-2, max = 1e3, scale = "log"}  # too high at its end: some diverge

[optimizers.adam]
class = "Adam"
learning_rate = {min = 1e-4, max = 1e-1, scale = "log"}
one_minus_beta_1 = {min = 0.004, max = 0.5, scale = "log"}
"""
SIGN = """
[optimizers.sign]
class = "SignMomentum"
learning_rate = {min = 1e-5, max = 1e-2, scale = "log"}
"""
COMMANDS = {
    "faces": "--space own.toml --code sign_momentum.py --image-size 32 --weights random "
    "--max-epochs 6 --repeats 2 --confirm 2",
    "rows": "--features rows.npz --space small.toml --metric balanced_accuracy "
    "--tuner random --trials 3 --max-epochs 6 --repeats 5 --confirm 2",
    "table": "--labels labels.csv --space small.toml --image-size 32 --weights random "
    "--tuner random --trials 6 --allocation joint --max-epochs 6 --repeats 2 --confirm 2",
}


def make() -> None:
    """Run every command in an empty folder, so that no path of this machine is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("sign_momentum.py").write_text(SIGN_MOMENTUM)
        Path("small.toml").write_text(SPACE)
        Path("own.toml").write_text(SPACE + SIGN)
        write_rows(Path("rows.npz"))
        write_table(Path("labels.csv"))
        for name, command in COMMANDS.items():
            if main([*command.split(), "--name", name, "--cache-dir", "cache"]):
                raise SystemExit(f"{name} was not made")
            shutil.rmtree(HERE / name, ignore_errors=True)
            for needed in NEEDED:
                target = HERE / name / needed
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path("logs") / name / needed, target)


def write_rows(path: Path) -> None:
    """Three classes of 60, 30 and 15 rows that overlap; three rows belong together."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(3), (60, 30, 15))
    x = rng.normal(size=(len(y), 8)) + 1.5 * np.eye(3, 8)[y]
    np.savez(path, x=x.astype(np.float32), y=y, group=np.arange(len(y)) // 3)


def write_table(path: Path) -> None:
    """Red, green and blue noise, twelve images each; three of them belong together."""
    rng = np.random.default_rng(2)
    lines = ["file,label,group"]
    for channel, label in enumerate(("red", "green", "blue")):
        for number in range(12):
            pixels = rng.integers(0, 120, (32, 32, 3))
            pixels[..., channel] += rng.integers(0, 136)
            name = f"{label}{number:02d}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path.with_name(name))
            lines.append(f"{name},{label},{label}{number // 3}")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    make()
