"""The report on texts, labels and folds. Room at the top of the house: imports no other room of its level."""

from skbert._report.frame import TextReport
from skbert._report.report import text_report

__all__ = ["TextReport", "text_report"]
