"""The loader of invented messages about a debate that never was. A leaf of the house: imports only ``exceptions``."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from skbert.datasets._base import DATA_MODULE, build_bunch, check_flags, packaged

__all__ = ["load_sample_tweets"]

_CSV = "data/sample_tweets.csv"
_DESCR = "data/sample_tweets.rst"


def load_sample_tweets(*, as_frame: bool = False, return_X_y: bool = False) -> Any:
    """Load and return the sample tweets (classification).

    Short messages about a televised debate, with the sentiment of each. All
    of it is invented and was written for skbert: the state, the channel, the
    candidates, the people who write. The noise is that of real messages:
    handles, tags, links, emoji, HTML entities, broken encoding, misspellings,
    sarcasm, cut ends, retweets, copies, and copies whose labels disagree.

    =================   =========================
    Classes                                     3
    Samples per class   239 neg, 160 neu, 139 pos
    Samples total                             538
    Different texts                           519
    Features                                 text
    =================   =========================

    .. versionadded:: 0.1

    Parameters
    ----------
    as_frame : bool, default=False
        If True, `data` and `target` are pandas Series and `frame` is a
        DataFrame.

    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (538,), dtype object, or Series
            The texts, each a str. With ``as_frame=True`` a Series named
            "text".
        target : ndarray of shape (538,), dtype object, or Series
            The label of each text, a str: "negative", "neutral" or
            "positive". With ``as_frame=True`` a Series named "sentiment".
        frame : DataFrame of shape (538, 3) or None
            Only with ``as_frame=True``: the columns "id" (int, 1 to 538),
            "text" and "sentiment".
        target_names : list of str
            The three labels, sorted.
        DESCR : str
            Where the texts come from, how they were labelled, how well
            simple models do on them.
        filename : str
            The name of the CSV file within `data_module`.
        data_module : str
            The package that holds the file, for :mod:`importlib.resources`.

    (data, target) : tuple if ``return_X_y=True``
        The texts and the labels: two ndarrays, or two Series with
        ``as_frame=True``.

    See Also
    --------
    load_gop_debate : Real tweets about a real debate, which you must have on
        your disk.

    Notes
    -----
    19 rows are copies of other rows, as with retweets, and 3 of these carry
    another label than their original. Split by text (for instance with
    :class:`~sklearn.model_selection.StratifiedGroupKFold` and the texts as
    groups), or copies end up on both sides of a split and flatter the score.

    The labels are strings, not codes, so that predictions and reports read
    well. The texts are made for demonstrations and tests: a score on them says
    nothing about how well a model does elsewhere.

    The same rows come in the same order on every call; what is returned is
    yours to change.

    The texts have the licence of skbert, BSD-3-Clause.

    Examples
    --------
    >>> from skbert.datasets import load_sample_tweets
    >>> tweets = load_sample_tweets()
    >>> tweets.data.shape, tweets.target.shape
    ((538,), (538,))
    >>> tweets.target_names
    ['negative', 'neutral', 'positive']
    >>> print(tweets.data[2], "->", tweets.target[2])
    Dang. Kessenick on why he votes against his own party on the forest bill?? that took spine -> positive

    Copies stay on one side of a split when the texts are the groups:

    >>> from sklearn.model_selection import StratifiedGroupKFold
    >>> X, y = load_sample_tweets(return_X_y=True)
    >>> cv = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)
    >>> train, test = next(cv.split(X, y, groups=X))
    >>> set(X[train]) & set(X[test])
    set()
    """
    check_flags("load_sample_tweets", as_frame=as_frame, return_X_y=return_X_y)
    # Nothing in the file means "missing": a message that reads "NA" or "null" is a message.
    frame = pd.read_csv(io.BytesIO(packaged(_CSV).read_bytes()), encoding="utf-8", keep_default_na=False)
    return build_bunch(
        frame,
        as_frame=as_frame,
        return_X_y=return_X_y,
        DESCR=packaged(_DESCR).read_text(encoding="utf-8"),
        filename=_CSV,
        data_module=DATA_MODULE,
    )
