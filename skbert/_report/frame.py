"""TextReport: a DataFrame of findings that prints as a small table. Part of ``_report``."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from skbert._report.findings import Finding, percent

__all__ = ["TextReport"]

_COLUMNS = ("count", "of", "share", "unit", "rows", "advice")
_TITLES = ("", "count", "of", "share", "unit", "rows")
_WIDTH = 100
_NAME_WIDTH = 36
_SHOWN_ROWS = 3
_SHOWN_CLASSES = 12  # of many; all are in the frame


class TextReport(pd.DataFrame):
    """The findings of :func:`skbert.text_report`: a DataFrame with one attribute and a print-out of its own.

    Attributes
    ----------
    groups : ndarray of shape (n_samples,), int, or None
        For each row of X the number of its group: near-identical texts have
        one number, and so do rows of one group that was given.
    """

    __module__ = "skbert._report"  # the name in pickles, which outlives the files here

    _metadata = ["groups"]  # noqa: RUF012
    groups: np.ndarray | None = None

    @property
    def _constructor(self) -> type[TextReport]:
        return TextReport

    @classmethod
    def of(cls, findings: Sequence[Finding], groups: np.ndarray) -> TextReport:
        """Put findings into a frame."""
        report = cls(
            {
                "count": np.array([finding.count for finding in findings], dtype=np.int64),
                "of": pd.array([finding.of for finding in findings], dtype="Int64"),
                "share": [finding.count / finding.of if finding.of else np.nan for finding in findings],
                "unit": pd.Series([finding.unit for finding in findings], dtype=object),
                "rows": pd.Series([tuple(finding.rows.tolist()) for finding in findings], dtype=object),
                "advice": pd.Series([finding.advice for finding in findings], dtype=object),
            }
        )
        report.index = pd.Index([finding.name for finding in findings], name="finding", dtype=object)
        report.groups = groups
        return report

    def __repr__(self) -> str:
        """Return the report as a table, with what to do below; what is no longer one prints as any DataFrame."""
        if not self._is_report():
            return super().__repr__()
        table = [_TITLES, *self._cells()]
        widths = [max(len(row[column]) for row in table) for column in range(len(_TITLES))]
        lines = [
            "  ".join(
                text.rjust(width) if 0 < column < 4 else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        for name, advice in self._advice():
            lines += ["", *textwrap.wrap(f"{name}: {advice}", _WIDTH, subsequent_indent="    ", break_on_hyphens=False)]
        return "\n".join(lines)

    def _repr_html_(self) -> str | None:
        """Return the report as HTML, in which nothing of the user's data is markup."""
        if not self._is_report() or not pd.get_option("display.notebook_repr_html"):
            return super()._repr_html_()  # type: ignore[misc]
        head = "".join(f"<th>{title}</th>" for title in _TITLES)
        body = []
        for name, *cells in self._cells():
            shown = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            body.append(f'<tr><th style="text-align: left">{html.escape(name)}</th>{shown}</tr>')
        table = f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
        advice = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(what)}</li>" for name, what in self._advice())
        return f"<div>{table}<ul>{advice}</ul></div>" if advice else f"<div>{table}</div>"

    def _is_report(self) -> bool:
        # After `astype(str)` or `isna()`, say, the columns have their names, and hold something else.
        return (
            tuple(self.columns) == _COLUMNS
            and all(isinstance(name, str) for name in self.index)
            and all(pd.api.types.is_integer_dtype(self[name].dtype) for name in ("count", "of"))
            and pd.api.types.is_float_dtype(self["share"].dtype)
        )

    def _cells(self) -> list[tuple[str, ...]]:
        """Return what is shown of each finding, with as many row numbers as there is room for."""
        for n_rows in range(_SHOWN_ROWS, -1, -1):
            cells = self._cells_with(n_rows)
            width = sum(max(map(len, column)) for column in zip(_TITLES, *cells, strict=True))
            if width + 2 * (len(_TITLES) - 1) <= _WIDTH:
                break
        return cells

    def _cells_with(self, n_rows: int) -> list[tuple[str, ...]]:
        columns = zip(*(self[column] for column in _COLUMNS[:-1]), strict=True)
        cells: list[tuple[str, ...]] = []
        n_classes = place = 0
        for name, (count, of, part, unit, rows) in zip(self.index, columns, strict=True):
            if name.startswith("class "):
                n_classes += 1
                if n_classes > _SHOWN_CLASSES:
                    continue
                place = len(cells) + 1
            numbers = _number(count), _number(of), _share(part)
            cells.append((_plain(name, _NAME_WIDTH), *numbers, str(unit), _rows(rows, n_rows)))
        if n_classes > _SHOWN_CLASSES:
            cells.insert(place, (f"… and {n_classes - _SHOWN_CLASSES:,} more classes", *[""] * 5))
        return cells

    def _advice(self) -> list[tuple[str, str]]:
        return [
            (_plain(name, _NAME_WIDTH), _plain(advice, 1_000))
            for name, advice in zip(self.index, self["advice"], strict=True)
            if isinstance(advice, str) and advice
        ]


def _plain(text: str, width: int) -> str:
    """Return a text in one line, without what a terminal would take for a command."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _number(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{int(value):,}" if isinstance(value, Integral) else str(value)


def _share(value: Any) -> str:
    return "" if pd.isna(value) else percent(value, 1)


def _rows(rows: Any, most: int) -> str:
    if not isinstance(rows, tuple):
        return str(rows)
    shown = [*map(str, rows[:most]), *["…"] * (len(rows) > most)]
    return ", ".join(shown)
