"""Records -> numbers -> figures -> pages; needs no TensorFlow."""

from study.report.command import main

__all__ = ["main"]
