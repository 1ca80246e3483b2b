"""The picture of an explanation: its strongest words as bars. Part of ``inspection``.

matplotlib is optional, and imported only where something is drawn.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from skbert._params import integer
from skbert.exceptions import InvalidParameterError
from skbert.inspection._explanation import Explanation
from skbert.inspection._showing import glyph_namer, label, number

__all__ = ["ExplanationDisplay"]

# Darker than the colours behind words (``_showing``): a thin bar on white needs more of it than a word does.
_FOR, _AGAINST = "#2f7fd6", "#d9760d"
_LONGEST = 24  # characters of a word


class ExplanationDisplay:
    """The words that carried a decision, as bars.

    The strongest word stands at the top. A blue bar to the right of zero
    carried the decision for the class, an orange one to the left spoke against
    it. Use :meth:`from_estimator`, or :meth:`Explanation.plot
    <skbert.inspection.Explanation.plot>` where the explanation is at hand. In a
    notebook the display shows the coloured text as well.

    Parameters
    ----------
    explanation : Explanation
        What :func:`~skbert.inspection.explain` has returned for one text.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure that holds them.
    bars_ : matplotlib BarContainer
        A bar for each word that is drawn, the strongest first.
    text_ : list of matplotlib Text
        The number at each bar.
    zero_line_ : matplotlib Line2D
        The line between for and against.

    See Also
    --------
    skbert.inspection.explain : Explains the predictions of an estimator.
    skbert.inspection.Explanation : Which words of a text carried a decision.

    Notes
    -----
    What matplotlib's fonts have no glyph for, which may be an emoji or a
    Chinese character, is named: "[thinking face]", "[U+4E2D]". To see such
    characters, name a font that has them, as in
    ``plt.rcParams["font.family"] = ["sans-serif", "Noto Sans CJK JP"]``.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skbert.inspection import Explanation, ExplanationDisplay, Word
    >>> explanation = Explanation(
    ...     text="Not bad",
    ...     target="positive",
    ...     log_odds=0.85,
    ...     words=(Word("Not", 0, 3, 0), Word("bad", 4, 7, 0)),
    ...     attributions=np.array([1.5, -0.75]),
    ...     method="leave_one_out",
    ...     predicted="positive",
    ...     probability=0.7,
    ... )
    >>> display = ExplanationDisplay(explanation=explanation).plot()
    >>> [tick.get_text() for tick in display.ax_.get_yticklabels()]
    ['Not', 'bad']
    >>> plt.show()
    """

    def __init__(self, *, explanation: Explanation) -> None:
        self.explanation = explanation

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        text: str | tuple[str, str],
        *,
        method: str = "auto",
        target: Any = None,
        max_words: int = 15,
        ax: Any = None,
        name: str | None = None,
        bar_kw: dict[str, Any] | None = None,
    ) -> ExplanationDisplay:
        """Explain the prediction for one text, and draw it.

        Parameters
        ----------
        estimator : estimator instance
            A fitted classifier of texts with `predict_proba`, as
            :func:`~skbert.inspection.explain` takes it.
        text : str or tuple of (str, str)
            One text, or one pair.
        method : {'auto', 'leave_one_out', 'integrated_gradients'}, default='auto'
            As in :func:`~skbert.inspection.explain`.
        target : object, default=None
            Label of the class to explain; None explains the one that is
            predicted.
        max_words : int, default=15
            How many words are drawn at most.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Title of the picture; None says class and probability.
        bar_kw : dict, default=None
            Passed to matplotlib's `barh`.

        Returns
        -------
        ExplanationDisplay
            With the artists it has drawn.

        Raises
        ------
        InvalidParameterError
            `text` is not one text or one pair, or `explain` refuses a
            parameter.
        ImportError
            matplotlib is not installed.
        """
        from skbert.inspection._explain import explain

        if not (isinstance(text, str) or (isinstance(text, tuple) and len(text) == 2)):
            msg = (
                "The 'text' parameter of ExplanationDisplay.from_estimator must be one str, or a tuple of two of them "
                f"for a pair. Got an object of type {type(text).__name__!r} instead. Of many texts, explain(X, "
                "estimator) returns many explanations, and each has a method plot."
            )
            raise InvalidParameterError(msg)
        # Before the work, not after it.
        _check_max_words(max_words, f"{cls.__name__}.from_estimator")
        _require_matplotlib(f"{cls.__name__}.from_estimator")
        (explanation,) = explain([text], estimator, method=method, target=target)
        return cls(explanation=explanation).plot(ax=ax, max_words=max_words, name=name, bar_kw=bar_kw)

    def plot(
        self, ax: Any = None, *, max_words: int = 15, name: str | None = None, bar_kw: dict[str, Any] | None = None
    ) -> ExplanationDisplay:
        """Draw the strongest words.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure, as high as its words need.
        max_words : int, default=15
            How many words are drawn at most.
        name : str, default=None
            Title of the picture; None says class and probability.
        bar_kw : dict, default=None
            Passed to matplotlib's `barh`.

        Returns
        -------
        ExplanationDisplay
            The display itself.

        Raises
        ------
        InvalidParameterError
            `max_words` is no int of 1 or more.
        ImportError
            matplotlib is not installed.
        """
        _check_max_words(max_words, f"{type(self).__name__}.plot")
        _require_matplotlib(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.font_manager import FontProperties, findfont, get_font
        from matplotlib.patches import Rectangle
        from matplotlib.ticker import MaxNLocator

        explanation = self.explanation
        places = explanation._by_strength()[:max_words]
        values = explanation._values()[places]
        if ax is None:
            height = 1.3 + 0.27 * max(len(places), 2)
            _, ax = plt.subplots(figsize=(6.4, height), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure

        # Words are words: "$5" is no formula, and "50%" no LaTeX.
        literal = {"parse_math": False, "usetex": False}

        drawn = glyph_namer(FontProperties, findfont, get_font)
        rows = np.arange(len(places))
        style = {"color": [_FOR if value >= 0 else _AGAINST for value in values], "height": 0.72}
        given = normalize_kwargs(bar_kw or {}, Rectangle)
        if {"facecolor", "edgecolor"} & set(given):
            style["facecolor"] = style.pop("color")
        self.bars_ = ax.barh(rows, values, **style | given)
        self.zero_line_ = ax.axvline(0, color="0.3", linewidth=0.8)
        largest = float(np.abs(values).max(initial=0.0))
        # matplotlib writes a true minus sign at the axis; so do the numbers at the bars.
        self.text_ = ax.bar_label(
            self.bars_,
            [number(value, largest).replace("-", "\N{MINUS SIGN}") for value in values],
            padding=4,
            fontsize="small",
            color="0.25",
        )
        names = [drawn(explanation._name_of(place, _LONGEST)) for place in places]
        ax.set_yticks(rows, names, **literal)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(max(len(places), 1) - 0.4, -0.6)
        # Room for the numbers beyond the ends of the bars.
        low, high = min(values.min(initial=0.0), 0.0), max(values.max(initial=0.0), 0.0)
        room = 0.22 * (high - low) or 1.0
        ax.set_xlim(low - room * (low < 0 or high == 0), high + room * (high > 0 or low == 0))
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.grid(True, axis="x", alpha=0.25)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        counted = f"{len(places)} strongest of {len(explanation.words)} words" if len(places) else "no words"
        ax.set_xlabel("log-odds" if len(places) == len(explanation.words) > 0 else f"log-odds ({counted})")
        if name is None:
            name = f"{label(explanation.target, 40)}: probability {explanation.probability:.2f}"
            if not explanation._is_predicted():
                name += f"\npredicted is {label(explanation.predicted, 40)}"
        ax.set_title("\n".join(map(drawn, name.splitlines())), **literal)
        return self

    def __repr__(self) -> str:
        """Return the explanation as text."""
        return f"ExplanationDisplay: {self.explanation!r}"

    def _repr_html_(self) -> str:
        """Return the explanation as coloured text."""
        return self.explanation._repr_html_()


def _check_max_words(max_words: Any, who: str) -> None:
    rule = integer(1)
    if not rule.holds(max_words):
        msg = f"The 'max_words' parameter of {who} must be {rule.text}. Got {max_words!r} instead."
        raise InvalidParameterError(msg)


def _require_matplotlib(who: str) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        msg = f"{who} requires matplotlib. Install it with: pip install 'skbert[plot]'"
        raise ImportError(msg)
