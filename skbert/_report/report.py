"""text_report, the function itself. Part of ``_report``; what there is to say is worked out beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbert._classifier.holding import find_embedder
from skbert._report.findings import Finding, Rows, Values, about_groups, about_labels, about_texts, joined_groups
from skbert._report.frame import TextReport
from skbert._report.splits import about_splits
from skbert._report.tokens import about_tokens
from skbert._texts import check_texts, is_missing, show
from skbert.exceptions import InvalidParameterError

__all__ = ["text_report"]


def text_report(X: Any, y: Any = None, *, groups: Any = None, cv: Any = None, embedder: Any = None) -> TextReport:
    """Report what is in texts, labels and folds that a score would suffer from or profit by.

    Counts missing and empty texts, copies and near copies, copies with
    different labels, copies that groups or splits put on both sides, the
    classes, and what an embedder would cut off or not know. Call it before a
    model is trained; it needs no model, and changes nothing.

    Parameters
    ----------
    X : sequence of str or of pairs of str, of shape (n_samples,)
        What :class:`BertEmbedder` takes. Missing values (None, NaN, pd.NA) are
        counted, whatever the embedder would do with them.
    y : array-like of shape (n_samples,) or None, default=None
        The labels. Missing ones are counted. Numbers with a fraction are no
        classes, and only looked at for conflicts.
    groups : array-like of shape (n_samples,) or None, default=None
        The groups that splits are to keep on one side, for `cv`. The report
        tells which texts stand in several of them.
    cv : int, splitter, iterable or None, default=None
        The splits to look at, as in :func:`~sklearn.model_selection.cross_validate`:
        a number of folds (stratified where `y` has classes), a splitter, or
        pairs of row numbers, which are read once. None looks at none. Where
        labels are missing, an int or a splitter gets the other rows.
    embedder : BertEmbedder, BertSentimentClassifier, Pipeline or None, default=None
        Whose tokens to count, with its `max_length`, `long_texts` and
        `prompt`. In a pipeline the texts go through the steps before it.
        Tokenises, and loads no weights. None counts no tokens, and needs
        neither a model nor a network.

    Returns
    -------
    DataFrame
        One row a finding, with its name in the index, and the columns
        `count`; `of`, all there are of its `unit`; `share`, the one in the
        other; `rows`, a tuple with the numbers of all rows of X concerned,
        from 0; and `advice`, a sentence where there is something to do. It
        prints as a table, and has an attribute `groups`: an array with one
        number a row, the same for near-identical texts (and for rows of one
        of the groups that were given), for splitters that take groups.

    Raises
    ------
    TextInputError
        X is not a sequence of texts.
    InvalidParameterError
        Another parameter is not what it may be, or of another length than X.

    See Also
    --------
    TextCleaner : Brings texts into one form.
    sklearn.model_selection.StratifiedGroupKFold : Splits that keep groups on
        one side.

    Notes
    -----
    Two texts are *near-identical* if they are the same but for links,
    mentions ("@somebody"), retweet marks ("RT @somebody:", "via @somebody"),
    HTML entities, capitals, punctuation and blanks; or if one is the other cut
    short, with "…" or "..." for its end, and has 50 characters or more.
    Emoji and emoticons stay: "great :)" and "great :(" are different. The
    numbers of near-identical texts include those of identical ones.

    Empty texts have no character but blanks. They, and missing texts, are
    copies of nothing.

    *Cost.* Half a second for 14,000 tweets and their splits; tokenising them
    takes a second more, and the first use of a model in a process its checksum
    (0.3 seconds for 90 MB). A splitter with ``random_state=None`` draws from
    NumPy's generator here as elsewhere, and splits differently the next time.

    Examples
    --------
    >>> from skbert import text_report
    >>> from skbert.datasets import load_sample_tweets
    >>> X, y = load_sample_tweets(return_X_y=True)
    >>> report = text_report(X, y, cv=5)
    >>> print(int(report.loc["identical texts", "count"]))
    19

    Splits that keep near-identical texts on one side:

    >>> from sklearn.model_selection import StratifiedGroupKFold
    >>> fair = text_report(X, y, groups=report.groups, cv=StratifiedGroupKFold())
    >>> print(int(fair.loc["near-identical across splits", "count"]))
    0
    """
    items = check_texts(X, missing="keep", estimator="text_report", is_transformer=False).items
    labels, of_groups = _values("y", "label", y, len(items)), _values("groups", "group", groups, len(items))
    found = None if embedder is None else find_embedder(embedder, "text_report", or_none=True)
    rows = Rows.of(items)
    are_classes = labels is not None and not _is_measure(labels)
    splitter = "StratifiedGroupKFold().split(X, y, " if are_classes else "GroupKFold().split(X, groups="
    remedy = f"Keep copies on one side of every split, or scores come out too good: {splitter}report.groups)."
    # Of the splits first, whose errors are the user's: to tokenise takes longest.
    of_splits = [] if cv is None else list(about_splits(rows, cv, X, y, groups, labels, of_groups, remedy))
    findings: list[Finding] = list(about_texts(rows, remedy if cv is None else ""))
    if found is not None:
        findings += about_tokens(X, items, *found)
    if labels is not None:
        findings += about_labels(rows, labels, are_classes=are_classes)
    if of_groups is not None:
        findings += about_groups(rows, of_groups)
    return TextReport.of(findings + of_splits, joined_groups(rows, of_groups))


def _values(name: str, noun: str, values: Any, n: int) -> Values | None:
    """Return labels or groups as numbers of the different ones, which are sorted where they can be."""
    if values is None:
        return None
    # A list one by one: NumPy would make texts of numbers among texts, and "nan" of a NaN.
    plain = values if isinstance(values, list | tuple) else np.asarray(values)
    if isinstance(plain, np.ndarray):
        plain = plain.ravel() if plain.ndim == 2 and plain.shape[1] == 1 else plain
        if plain.ndim != 1:
            raise _wrong(name, f"be None or an array-like with one {noun} for each row of X", show(values))
        plain = plain.tolist()
    if len(plain) != n:
        raise _wrong(name, f"have one {noun} for each of the {n:,} rows of X", f"{len(plain):,}")
    seen: dict[Any, int] = {}
    codes = np.empty(n, dtype=np.int64)
    for row, value in enumerate(plain):
        try:
            codes[row] = -1 if is_missing(value) else seen.setdefault(value, len(seen))
        except TypeError:  # a list, say
            must = f"be None or an array-like with one {noun} for each row of X, a str or a number"
            raise _wrong(name, must, f"{show(value)} in row {row}") from None
    try:
        names = sorted(seen)
    except TypeError:
        names = sorted(seen, key=lambda value: (type(value).__name__, str(value)))
    places = np.array([*np.argsort([seen[value] for value in names]), -1], dtype=np.int64)
    return Values(places[codes], names)


def _is_measure(labels: Values) -> bool:
    return any(isinstance(value, float) and not value.is_integer() for value in labels.names)


def _wrong(name: str, must: str, got: str) -> InvalidParameterError:
    return InvalidParameterError(f"The {name!r} parameter of text_report must {must}. Got {got} instead.")
