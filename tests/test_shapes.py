"""The shapes in annotations are checked while tests run."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from study.records.study_meta import Look
from study.verdicts.bounds import Bounds, over

LOOK = Look(repeats=5, alpha=0.01)


def test_an_array_of_another_shape_is_refused() -> None:
    assert over(np.ones((3, 5), bool), LOOK).tolist() == [True] * 3
    with pytest.raises(TypeCheckError):
        over(np.ones(5, bool), LOOK)


def test_an_array_of_another_type_is_refused() -> None:
    with pytest.raises(TypeCheckError):
        over(np.ones((3, 5)), LOOK)


def test_what_a_method_returns_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        Bounds(*[np.ones((2, 3))] * len(Bounds._fields)).low()
