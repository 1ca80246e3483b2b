"""AttentionDisplay: pictures of an AttentionMap. Part of ``inspection``.

matplotlib is optional, and imported only where something is drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from skbert.exceptions import InvalidParameterError
from skbert.inspection._attention import attention
from skbert.inspection._attention_map import AttentionMap, pick
from skbert.inspection._showing import glyph_namer

__all__ = ["AttentionDisplay"]

_CMAP = "cividis"  # equal steps look equal, also to those who do not tell red from green
_BLUE, _GREY = "#2a6f97", "#b0b7bf"
_LABEL_POINTS = 8
_LABEL_CHARS = 20
_JOINERS = "\u200c\u200d"  # within words of some scripts, and within emoji


class AttentionDisplay:
    """Attention as a picture: a matrix over pieces, where one word looks, or which head looks where.

    Use :meth:`from_estimator`, or :meth:`from_map` for several pictures of one
    text; the constructor takes arrays that were computed before.

    Parameters
    ----------
    weights : ndarray of shape (n_rows, n_columns) or (n_columns,)
        Attention, from 0 to 1. Two dimensions are drawn as a matrix, one as
        bars.
    column_labels : sequence of str
        What is looked at, or the heads.
    row_labels : sequence of str or None, default=None
        What looks, or the layers; None for bars.
    column_name, row_name : str, default=''
        Titles of the axes.
    title : str, default=''
        Title of the picture.
    is_grey : sequence of bool or None, default=None
        Which bars are drawn in grey: those of special tokens. None is none.
    marked : tuple of int or None, default=None
        Row and column of a cell that gets a frame.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure that holds them.
    im_ : matplotlib AxesImage or None
        The matrix; None for bars.
    colorbar_ : matplotlib Colorbar or None
        Its scale, if there is one.
    bars_ : matplotlib BarContainer or None
        The bars; None for a matrix.

    See Also
    --------
    attention : The weights themselves, and what they do not say.

    Notes
    -----
    Nothing is rescaled: colours and bars show the weights as they are, and the
    scale goes from 0 to the largest one drawn. BERT's heads give much of
    their attention to [CLS] and [SEP], beside which all else looks dark; leave
    these out with ``special_tokens=False``, and the axis says how much they
    get.

    Where there are more labels than room, only each second, third, … is
    written. Matplotlib's own font has no Chinese, Japanese, Korean and emoji;
    name one that has in ``plt.rcParams["font.family"]``.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import AttentionDisplay
    >>> text = "He poured water into the cup until it was full."
    >>> display = AttentionDisplay.from_estimator(BertEmbedder("all-MiniLM-L6-v2"), text, word="it")
    >>> plt.show()
    """

    def __init__(
        self,
        *,
        weights: np.ndarray,
        column_labels: Sequence[str],
        row_labels: Sequence[str] | None = None,
        column_name: str = "",
        row_name: str = "",
        title: str = "",
        is_grey: Sequence[bool] | None = None,
        marked: tuple[int, int] | None = None,
    ) -> None:
        self.weights = weights
        self.column_labels = column_labels
        self.row_labels = row_labels
        self.column_name = column_name
        self.row_name = row_name
        self.title = title
        self.is_grey = is_grey
        self.marked = marked

    @classmethod
    def from_estimator(
        cls,
        embedder: Any,
        text: str | tuple[str, str],
        *,
        layer: int | Sequence[int] | None = None,
        head: int | Sequence[int] | None = None,
        word: str | None = None,
        occurrence: int = 0,
        other: str | None = None,
        other_occurrence: int = 0,
        special_tokens: bool = True,
        ax: Any = None,
        **kwargs: Any,
    ) -> AttentionDisplay:
        """Draw the attention within a text.

        Parameters
        ----------
        embedder : BertEmbedder, BertSentimentClassifier or Pipeline
            As in :func:`attention`.
        text : str or tuple of two str
            One text, or one pair.
        layer, head : int, sequence of int or None, default=None
            The mean over these is drawn, and the title says so; with `other`
            each of them. None is all.
        word : str or None, default=None
            Draw where this word looks, as bars. None draws the matrix over all
            pieces.
        occurrence : int, default=0
            Which `word`, counted from 0.
        other : str or None, default=None
            Draw how much `word` looks at this one in each head of each layer,
            with a frame around the head that does so most.
        other_occurrence : int, default=0
            Which `other`, counted from 0.
        special_tokens : bool, default=True
            Draw special tokens ([CLS], [SEP]) too. False leaves them out, and
            says how much of the attention goes to them; what is left keeps its
            values. No matter with `other`.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `imshow` or, for bars, to `barh`.

        Returns
        -------
        AttentionDisplay
            With the artists it has drawn.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        seen = attention(text, embedder, layer=layer, head=head)
        return cls.from_map(
            seen,
            word=word,
            occurrence=occurrence,
            other=other,
            other_occurrence=other_occurrence,
            special_tokens=special_tokens,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_map(
        cls,
        attention_map: AttentionMap,
        *,
        layer: int | Sequence[int] | None = None,
        head: int | Sequence[int] | None = None,
        word: str | None = None,
        occurrence: int = 0,
        other: str | None = None,
        other_occurrence: int = 0,
        special_tokens: bool = True,
        ax: Any = None,
        **kwargs: Any,
    ) -> AttentionDisplay:
        """Draw an AttentionMap.

        Parameters
        ----------
        attention_map : AttentionMap
            What :func:`attention` returned.
        layer, head : int, sequence of int or None, default=None
            As in `from_estimator`; of those that the map holds.
        word : str or None, default=None
            As in `from_estimator`.
        occurrence : int, default=0
            As in `from_estimator`.
        other : str or None, default=None
            As in `from_estimator`.
        other_occurrence : int, default=0
            As in `from_estimator`.
        special_tokens : bool, default=True
            As in `from_estimator`.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `imshow` or, for bars, to `barh`.

        Returns
        -------
        AttentionDisplay
            With the artists it has drawn.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        if word is None and other is not None:
            msg = f"The 'other' parameter of AttentionDisplay must be None where 'word' is None. Got {other!r} instead."
            raise InvalidParameterError(msg)
        if not isinstance(special_tokens, bool | np.bool_):
            msg = (
                "The 'special_tokens' parameter of AttentionDisplay must be an instance of 'bool'. Got "
                f"{special_tokens!r} instead."
            )
            raise InvalidParameterError(msg)
        if word is None:
            made = _matrix(attention_map, layer, head, special_tokens)
        elif other is None:
            made = _bars(attention_map, layer, head, word, occurrence, special_tokens)
        else:
            made = _heads(attention_map, layer, head, (word, occurrence), (other, other_occurrence))
        return cls(**made).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, title: str | None = None, **kwargs: Any) -> AttentionDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        title : str, default=None
            Title of the picture; None takes `self.title`.
        **kwargs : dict
            Passed to matplotlib's `imshow` or, for bars, to `barh`.

        Returns
        -------
        AttentionDisplay
            The display itself.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
            from matplotlib.font_manager import FontProperties, findfont, get_font
            from matplotlib.patches import Rectangle
        except ImportError as error:
            msg = "AttentionDisplay.plot requires matplotlib. Install it with: pip install 'skbert[plot]'"
            raise ImportError(msg) from error

        weights = np.asarray(self.weights)
        n_rows, n_columns = weights.shape if weights.ndim == 2 else (1, len(weights))
        if ax is None:
            height = 1.3 + 0.19 * n_columns if weights.ndim == 1 else 1.6 + 4.4 * min(1.2, n_rows / n_columns)
            _, ax = plt.subplots(figsize=(6.4, min(max(2.2, height), 12.0)), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.im_ = self.colorbar_ = self.bars_ = None
        extent = ax.get_window_extent()
        width_points, height_points = (72 * size / ax.figure.dpi for size in (extent.width, extent.height))
        drawn = glyph_namer(FontProperties, findfont, get_font)
        columns = _thinned(
            [drawn(label) for label in self.column_labels], width_points if weights.ndim == 2 else height_points
        )
        style = {"fontsize": _LABEL_POINTS, "parse_math": False}

        if weights.ndim == 1:
            colours = [_GREY if grey else _BLUE for grey in self.is_grey or [False] * n_columns]
            self.bars_ = ax.barh(np.arange(n_columns), weights, **{"color": colours} | kwargs)
            ax.set_yticks([place for place, _ in columns], [label for _, label in columns], **style)
            ax.set(xlim=(0, None), ylim=(n_columns - 0.4, -0.6))
            ax.grid(True, axis="x", alpha=0.25)
            ax.set_axisbelow(True)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_xlabel(self.column_name, parse_math=False)
        else:
            self.im_ = ax.imshow(weights, **{"cmap": _CMAP, "vmin": 0.0, "interpolation": "nearest"} | kwargs)
            rotated = max((len(label) for _, label in columns), default=0) > 2
            ax.set_xticks(
                [place for place, _ in columns], [label for _, label in columns], rotation=90 * rotated, **style
            )
            rows = _thinned([drawn(label) for label in self.row_labels or [""] * n_rows], height_points)
            ax.set_yticks([place for place, _ in rows], [label for _, label in rows], **style)
            ax.set_xlabel(self.column_name, parse_math=False)
            ax.set_ylabel(self.row_name, parse_math=False)
            self.colorbar_ = ax.figure.colorbar(self.im_, ax=ax, label="attention", shrink=0.8)
            if self.marked is not None:
                row, column = self.marked
                ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=2))
        ax.set_title(self.title if title is None else title, fontsize=10, parse_math=False)
        return self


def _matrix(seen: AttentionMap, layer: Any, head: Any, special_tokens: bool) -> dict[str, Any]:
    table = seen.to_frame(layer=layer, head=head).to_numpy()
    kept = np.flatnonzero(~seen.is_special | special_tokens)
    if len(kept) == 0:
        msg = (
            "The 'special_tokens' parameter of AttentionDisplay must be True for a text that has no other pieces. Got "
            f"{special_tokens!r} instead."
        )
        raise InvalidParameterError(msg)
    labels = [_readable(seen.pieces[place]) for place in kept]
    to_special = table[kept][:, seen.is_special].sum(axis=1).mean()
    return {
        "weights": table[np.ix_(kept, kept)],
        "column_labels": labels,
        "row_labels": labels,
        "column_name": "looked at" + _left_out(seen, to_special, special_tokens),
        "row_name": "looking",
        "title": f"Attention, {_which(seen, layer, head)}",
    }


def _bars(
    seen: AttentionMap, layer: Any, head: Any, word: str, occurrence: int, special_tokens: bool
) -> dict[str, Any]:
    looks = seen.looks_at(word, occurrence=occurrence, layer=layer, head=head)
    is_special = np.array([unit.is_special for unit in seen._units()])
    kept = ~is_special | special_tokens
    return {
        "weights": looks.to_numpy()[kept],
        "column_labels": [_readable(name) for name in looks.index[kept]],
        "column_name": "attention" + _left_out(seen, float(looks[is_special].sum()), special_tokens),
        "title": f"Where “{_readable(word)}” looks, {_which(seen, layer, head)}",
        "is_grey": is_special[kept].tolist(),
    }


def _heads(seen: AttentionMap, layer: Any, head: Any, word: tuple[str, int], other: tuple[str, int]) -> dict[str, Any]:
    table = seen.by_head(word[0], other[0], occurrence=word[1], other_occurrence=other[1])
    layers = table.index if layer is None else list(pick(layer, "layer", seen.n_layers, "AttentionDisplay"))
    heads = table.columns if head is None else list(pick(head, "head", seen.n_heads, "AttentionDisplay"))
    seen._mean("AttentionDisplay", layer, head)  # says which the map does not hold
    table = table.loc[layers, heads]
    values = table.to_numpy()
    row, column = (int(place) for place in np.unravel_index(values.argmax(), values.shape))
    most = f"most: {values[row, column]:.0%} in layer {table.index[row]}, head {table.columns[column]}"
    return {
        "weights": values,
        "column_labels": [str(number) for number in table.columns],
        "row_labels": [str(number) for number in table.index],
        "column_name": "head",
        "row_name": "layer",
        "title": f"How much “{_readable(word[0])}” looks at “{_readable(other[0])}”\n{most}",
        "marked": (row, column),
    }


def _which(seen: AttentionMap, layer: Any, head: Any) -> str:
    """Return which layers and heads a picture shows, in words."""
    if layer is None and head is None and (len(seen.layers), len(seen.heads)) == (seen.n_layers, seen.n_heads):
        return f"mean of all {seen.n_layers} layers and {seen.n_heads} heads"
    said = []
    for name, value, held, total in (
        ("layer", layer, seen.layers, seen.n_layers),
        ("head", head, seen.heads, seen.n_heads),
    ):
        numbers = held if value is None else pick(value, name, total, "AttentionDisplay")
        if len(numbers) == 1:
            said.append(f"{name} {numbers[0]}")
        elif len(numbers) == total:
            said.append(f"mean of all {total} {name}s")
        else:
            said.append(f"mean of {name}s {', '.join(map(str, numbers))}")
    return ", ".join(said)


def _left_out(seen: AttentionMap, share: float, special_tokens: bool) -> str:
    if special_tokens or not seen.is_special.any():
        return ""
    names = ", ".join(dict.fromkeys(np.array(seen.pieces, dtype=object)[seen.is_special].tolist()))
    return f"\n(left out: {names}, which get {share:.0%} of the attention)"


def _readable(label: str) -> str:
    """Return a label as it can be drawn: of bounded length, control characters and marks of direction in writing."""
    text = "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char) in ("Cc", "Cf") and char not in _JOINERS else char
        for char in label
    )
    return text if len(text) <= _LABEL_CHARS else text[: _LABEL_CHARS - 1] + "…"


def _thinned(labels: Sequence[str], points: float) -> list[tuple[int, str]]:
    """Return places and labels of as many as there is room for, evenly."""
    step = max(1, int(np.ceil(len(labels) * (_LABEL_POINTS + 1) / max(points, 1.0))))
    return [(place, labels[place]) for place in range(0, len(labels), step)]
