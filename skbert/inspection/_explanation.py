"""What an explanation is: the words of one text and what each carried. Part of ``inspection``.

How it is come by is ``_explain``'s work, how words look ``_showing``'s, and the picture ``_explanation_display``'s.
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from skbert.inspection._showing import AGAINST, FOR, INK, PAPER, coloured, escape, label, number, one_line

if TYPE_CHECKING:
    from skbert.inspection._explanation_display import ExplanationDisplay

__all__ = ["Explanation", "Word"]

_METHODS = {"leave_one_out": "leave-one-out", "integrated_gradients": "integrated gradients"}
# Of the text for a terminal.
_SHOWN_WORDS = 8
_SHOWN_CHARS = 240
_WIDTH = 88
_BAR = 20

_CARD = f"background:{PAPER};color:{INK};color-scheme:light;padding:0.6em 0.8em;border:1px solid #bbb;border-radius:4px"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.8;margin:0.4em 0"
_SWATCH = f"color:{INK};padding:0 0.4em;border-radius:3px"


class Word(NamedTuple):
    """A word, and where it stands in the user's own text.

    Parameters
    ----------
    word : str
        Its characters.
    start, end : int
        Where they stand in the text as it was given, before any cleaning.
    side : int
        0, or 1 for the second text of a pair.

    Examples
    --------
    >>> from skbert.inspection import Word
    >>> word = Word("bad", start=4, end=7, side=0)
    >>> "Not bad"[word.start : word.end]
    'bad'
    """

    word: str
    start: int
    end: int
    side: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Which words of a text carried a decision, and how much each.

    :func:`~skbert.inspection.explain` returns one for each text. In a notebook
    it shows the text with colours behind its words, in a terminal its
    strongest words.

    Parameters
    ----------
    text : str, tuple of (str, str), or None
        The text, or the pair, as it was given; None for a missing one.
    target : object
        Label of the class that is explained.
    log_odds : float
        Of that class for this text: log(p / (1 - p)).
    words : tuple of Word
        The words that were weighed, and where they stand in `text`.
    attributions : float64 ndarray of shape (n_words,)
        Log-odds that each word carried: above 0 for `target`, below 0
        against it.
    method : str
        "leave_one_out" or "integrated_gradients".
    predicted : object
        Label that the estimator predicts; need not be `target`.
    probability : float
        Of `target`.
    baseline_log_odds : float or None
        Log-odds of `target` for the baseline of integrated gradients.
    n_steps : int or None
        Steps that integrated gradients took.

    See Also
    --------
    skbert.inspection.explain : Explains the predictions of an estimator.
    skbert.inspection.ExplanationDisplay : Draws an explanation.

    Examples
    --------
    >>> import numpy as np
    >>> from skbert.inspection import Explanation, Word
    >>> Explanation(
    ...     text="Not bad, is it?",
    ...     target="positive",
    ...     log_odds=0.85,
    ...     words=(Word("Not", 0, 3, 0), Word("bad", 4, 7, 0), Word("it", 12, 14, 0)),
    ...     attributions=np.array([1.5, -0.75, 0.0]),
    ...     method="leave_one_out",
    ...     predicted="positive",
    ...     probability=0.7,
    ... )
    Explanation of 'positive': probability 0.700, log-odds +0.850 (leave-one-out)
      Not bad, is it?
      +1.500  ++++++++++++++++++++  Not
      -0.750  ----------            bad
      and 1 more word, none beyond 0
    """

    text: str | tuple[str, str] | None
    target: Any
    log_odds: float
    words: tuple[Word, ...]
    attributions: np.ndarray
    method: str
    predicted: Any
    probability: float
    baseline_log_odds: float | None = None
    n_steps: int | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the words as a table, in the order of the text.

        Returns
        -------
        DataFrame of shape (n_words, 4) or (n_words, 5)
            Columns `word`, `start` and `end` (characters of the text as it was
            given), `attribution` (float64, log-odds) and, of a pair, `side` (0
            or 1).
        """
        order = sorted(range(len(self.words)), key=lambda place: (self.words[place].side, self.words[place][1:3]))
        words = [self.words[place] for place in order]
        frame = pd.DataFrame(
            {
                "word": pd.Series([word.word for word in words], dtype="str"),
                "start": np.array([word.start for word in words], dtype=np.int64),
                "end": np.array([word.end for word in words], dtype=np.int64),
                "attribution": np.asarray(self.attributions, dtype=np.float64)[np.array(order, dtype=np.intp)],
            }
        )
        if isinstance(self.text, tuple):
            frame["side"] = np.array([word.side for word in words], dtype=np.int64)
        return frame

    def plot(self, ax: Any = None, **kwargs: Any) -> ExplanationDisplay:
        """Draw the strongest words as bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to :meth:`ExplanationDisplay.plot
            <skbert.inspection.ExplanationDisplay.plot>`: `max_words`, `name`,
            `bar_kw`.

        Returns
        -------
        ExplanationDisplay
            With the artists it has drawn.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        from skbert.inspection._explanation_display import ExplanationDisplay

        return ExplanationDisplay(explanation=self).plot(ax=ax, **kwargs)

    def __repr__(self) -> str:
        """Return the strongest words with their numbers, as text that is safe on any terminal."""
        lines = [
            f"Explanation of {label(self.target)}: probability {self.probability:.3f}, "
            f"log-odds {number(self.log_odds, 1)} ({_METHODS.get(self.method, self.method)})"
        ]
        if not self._is_predicted():
            lines.append(f"  predicted is {label(self.predicted)}")
        for side, text in enumerate(self._sides()):
            name = f"{'AB'[side]}: " if isinstance(self.text, tuple) else ""
            shown = one_line(text, _SHOWN_CHARS)
            lines += textwrap.wrap(name + shown, _WIDTH, initial_indent="  ", subsequent_indent="  ")
        if self.text is None:
            lines.append("  (a missing text)")
        values, largest = self._values(), self._largest()
        order = self._by_strength()
        strong = [place for place in order if values[place] != 0][:_SHOWN_WORDS]
        numbers = [number(values[place], largest) for place in strong]
        for place, shown in zip(strong, numbers, strict=True):
            bar = shown[0] * max(1, round(_BAR * (abs(values[place]) / largest)))
            lines.append(f"  {shown:>{max(map(len, numbers))}}  {bar:<{_BAR}}  {self._name_of(place, 40)}")
        if rest := order[len(strong) :]:
            bound = abs(values[rest[0]])
            words = "word" if len(rest) == 1 else "words"
            beyond = number(bound, largest).lstrip("+") if bound else "0"
            lines.append(
                f"  and {len(rest)} more {words}, none beyond {beyond}" if strong else f"  {len(rest)} {words}, all 0"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the text with a colour behind each word, in which nothing of the user's is markup."""
        target = f"<bdi>{escape(label(self.target))}</bdi>"
        head = (
            f"<b>{target}</b>: probability {self.probability:.3f}, log-odds {number(self.log_odds, 1)} "
            f"({escape(_METHODS.get(self.method, self.method))})"
        )
        if not self._is_predicted():
            head += f"; predicted is <b><bdi>{escape(label(self.predicted))}</bdi></b>"
        values, largest = self._values(), self._largest()
        texts = []
        for side, text in enumerate(self._sides()):
            parts = [
                (word.start, word.end, float(value))
                for word, value in zip(self.words, values, strict=True)
                if word.side == side
            ]
            if isinstance(self.text, tuple):
                texts.append(f'<div style="font-size:85%;margin-top:0.4em">{"AB"[side]}</div>')
            texts.append(f'<div dir="auto" style="{_TEXT}">{coloured(text, parts, largest)}</div>')
        if self.text is None:
            texts.append(f'<div style="{_TEXT}"><i>a missing text</i></div>')
        strongest = f"strongest word: {number(largest, largest).lstrip('+')}" if largest else "no word changed it"
        legend = (
            f'<div style="font-size:85%"><span style="background:{FOR};{_SWATCH}">for {target}</span> '
            f'<span style="background:{AGAINST};border-bottom:2px dotted;{_SWATCH}">against it</span> {strongest}</div>'
        )
        return f'<div dir="ltr" style="{_CARD}"><div>{head}</div>{"".join(texts)}{legend}</div>'

    def _by_strength(self) -> list[int]:
        """Return the places of the words in `words`, the strongest first; equal ones in the order of the text."""
        values = self._values()
        return sorted(range(len(values)), key=lambda place: (-abs(values[place]), self.words[place].side, place))

    def _name_of(self, place: int, width: int) -> str:
        """Return a word in one line, with its side where the text is a pair."""
        word = self.words[place]
        return f"{'AB'[word.side]}: " * isinstance(self.text, tuple) + one_line(word.word, width)

    def _values(self) -> np.ndarray:
        return np.nan_to_num(np.asarray(self.attributions, dtype=np.float64))

    def _largest(self) -> float:
        return float(np.abs(self._values()).max(initial=0.0))

    def _is_predicted(self) -> bool:
        return label(self.predicted) == label(self.target)

    def _sides(self) -> tuple[str, ...]:
        return () if self.text is None else (self.text,) if isinstance(self.text, str) else self.text
