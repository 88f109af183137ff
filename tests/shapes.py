"""Checks the shapes that annotations name while tests run, and no other type.

A module of `study` is changed once it has been imported, before anybody takes something from it:
functions and methods with a shape in their annotations are wrapped by `jaxtyping`, whose checks
beartype makes. All others are left alone and cost nothing; mypy sees all other types.
"""

import importlib.abc
import importlib.machinery
import sys
import typing
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _wrap(module, module.__name__)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "study" and not name.startswith("study."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


def check_shapes() -> None:
    """Check shapes in every module of `study` that is imported from now on."""
    sys.meta_path.insert(0, _Finder())


def _wrap(owner: Any, module: str) -> None:
    """Wrap what `owner`, a module or a class, defines itself."""
    for name, found in list(vars(owner).items()):
        if isinstance(found, type) and found.__module__ == module and owner is not found:
            if isinstance(owner, ModuleType):
                _wrap(found, module)
        elif isinstance(found, FunctionType) and found.__module__ == module:
            hints = {key: hint for key, hint in found.__annotations__.items() if _has_shape(hint)}
            if hints:
                found.__annotations__ = hints
                setattr(owner, name, jaxtyped(typechecker=beartype)(found))


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_shape(part) for part in typing.get_args(hint))
