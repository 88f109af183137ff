"""The report of one study: numbers, figures and pages from its records, without TensorFlow."""

from study.report.command import main

__all__ = ["main"]
