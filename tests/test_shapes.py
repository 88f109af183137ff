"""The shapes in annotations are checked while tests run: by hand in all, here in a few files.

python -m pytest --shapes
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("statistics", "outcomes")

REFUSED = """
from jaxtyping import TypeCheckError, install_import_hook
install_import_hook("study", "shapes.check_shapes")
import numpy as np
from study.records.study_meta import Look
from study.verdicts.bounds import over
look = Look(repeats=5, alpha=0.01)
assert over(np.ones((3, 5), bool), look).tolist() == [True] * 3
for wrong in (np.ones(5, bool), np.ones((3, 5))):
    try:
        over(wrong, look)
    except TypeCheckError:
        continue
    raise SystemExit(f"{wrong.shape} of {wrong.dtype} was not refused")
"""


def ended(*arguments: str) -> str:
    """Run Python on the tests' modules and return what it printed, or fail with it."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_array_of_another_shape_or_type_is_refused() -> None:
    ended("-c", REFUSED)


def test_shapes_are_what_they_are_said_to_be() -> None:
    files = [f"tests/test_{name}.py" for name in FILES]
    assert " passed" in ended("-m", "pytest", "--shapes", "-n", "0", "-v", *files)
