"""The loader of the user's copy of "Sentiment.csv". A leaf of the house: imports only ``exceptions``."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pandas as pd

from skbert.datasets._base import SENTIMENTS, build_bunch, check_flags, packaged
from skbert.exceptions import InvalidParameterError

__all__ = ["load_gop_debate"]

_FILE = "Sentiment.csv"
_FOLDER = "gop_debate"
_VARIABLE = "SKBERT_DATA"
_DESCR = "data/gop_debate.rst"
_COLUMNS = (
    *("id", "candidate", "candidate_confidence", "relevant_yn", "relevant_yn_confidence", "sentiment"),
    *("sentiment_confidence", "subject_matter", "subject_matter_confidence", "candidate_gold", "name"),
    *("relevant_yn_gold", "retweet_count", "sentiment_gold", "subject_matter_gold", "text", "tweet_coord"),
    *("tweet_created", "tweet_id", "tweet_location", "user_timezone"),
)
_PUBLISHED = (
    'skbert does not ship this file. It is published as "First GOP Debate Twitter Sentiment" by CrowdFlower at '
    "https://www.kaggle.com/datasets/crowdflower/first-gop-debate-twitter-sentiment (licence CC BY-NC-SA 4.0)"
)
_HOW = (
    f"pass its path, or that of its folder: load_gop_debate('some/folder/{_FILE}'), or let the environment variable "
    f"{_VARIABLE} name the folder"
)
_SHOWN = 5  # rows or names that an error lists before it says "…"
# The first bytes of what people have instead of a CSV file. Kaggle's download is a zip that holds an SQLite file too.
_OTHER_FORMATS = (
    (b"PK\x03\x04", f"is a zip archive or a spreadsheet; unpack it, or save it as CSV, and pass {_FILE}"),
    (b"\x1f\x8b", f"is compressed with gzip; unpack it and pass {_FILE}"),
    (b"SQLite format 3\x00", f"is an SQLite database; pass {_FILE}, which Kaggle gives beside it"),
    (b"PAR1", f"is a Parquet file; pass {_FILE}"),
)


def load_gop_debate(
    path: str | os.PathLike[str] | None = None, *, as_frame: bool = False, return_X_y: bool = False
) -> Any:
    """Load and return the First GOP Debate tweets (classification).

    Tweets about the first debate of the Republican presidential candidates on
    6 August 2015, with the sentiment that contributors of CrowdFlower saw in
    each. The file is not part of skbert: get it once where it is published
    [1]_ and pass its path. Nothing is ever downloaded.

    =================   ===============================
    Classes                                           3
    Samples per class   8,493 neg, 3,142 neu, 2,236 pos
    Samples total                                13,871
    Different texts                              10,402
    Features                                       text
    =================   ===============================

    .. versionadded:: 0.1

    Parameters
    ----------
    path : str, path-like or None, default=None
        The file "Sentiment.csv" (any name will do), or a folder that holds
        "Sentiment.csv" or "gop_debate/Sentiment.csv". None: the folder that
        the environment variable ``SKBERT_DATA`` names.

    as_frame : bool, default=False
        If True, `data` and `target` are pandas Series and `frame` is a
        DataFrame.

    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes. The published
        file has n_samples = 13,871.

        data : ndarray of shape (n_samples,), dtype object, or Series
            The texts, each a str, as they stand in the file. With
            ``as_frame=True`` a Series named "text".
        target : ndarray of shape (n_samples,), dtype object, or Series
            The label of each text, a str: "negative", "neutral" or
            "positive" (the file has them capitalised). With
            ``as_frame=True`` a Series named "sentiment".
        frame : DataFrame of shape (n_samples, 21) or None
            Only with ``as_frame=True``: all columns of the file, with the
            labels of `target` in "sentiment". NaN stands for empty fields
            only.
        target_names : list of str
            The three labels, sorted.
        DESCR : str
            Where the tweets come from, the columns, what to mind.
        filename : str
            The path of the file that was read.

    (data, target) : tuple if ``return_X_y=True``
        The texts and the labels: two ndarrays, or two Series with
        ``as_frame=True``.

    Raises
    ------
    FileNotFoundError
        There is no such file; the message says where it is published.
    ValueError
        The file is not CSV in UTF-8, is empty, lacks one of the 21 columns
        (which are named), or holds rows without a text or with an unknown
        sentiment (which are named).

    See Also
    --------
    load_sample_tweets : Invented tweets that ship with skbert.

    Notes
    -----
    Only 10,402 of the 13,871 texts are different: more than half of the rows
    are retweets. A random split of the rows puts copies of one tweet on both
    sides and flatters every score, so split by text (for instance with
    :class:`~sklearn.model_selection.GroupShuffleSplit` and the texts as
    groups). 131 texts carry labels that disagree between their copies.

    The labels are opinions of a few contributors a tweet; the column
    "sentiment_confidence" (0 to 1) says how far they agreed.

    The tweets were written by real people and are strongly worded in
    part. Their licence, CC BY-NC-SA 4.0, is not that of skbert.

    References
    ----------
    .. [1] CrowdFlower, `First GOP Debate Twitter Sentiment
       <https://www.kaggle.com/datasets/crowdflower/first-gop-debate-twitter-sentiment>`_,
       Kaggle, 2015. Licence CC BY-NC-SA 4.0.

    Examples
    --------
    >>> from skbert.datasets import load_gop_debate
    >>> X, y = load_gop_debate("Sentiment.csv", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, sorted(set(y))  # doctest: +SKIP
    ((13871,), ['negative', 'neutral', 'positive'])
    """
    check_flags("load_gop_debate", as_frame=as_frame, return_X_y=return_X_y)
    file = _find_file(path)
    frame = _read_csv(file)
    _check_columns(frame, file)
    _check_texts(frame["text"], file)
    frame["sentiment"] = _to_labels(frame["sentiment"], file)
    return build_bunch(
        frame,
        as_frame=as_frame,
        return_X_y=return_X_y,
        DESCR=packaged(_DESCR).read_text(encoding="utf-8"),
        filename=str(file),
    )


def _find_file(path: str | os.PathLike[str] | None) -> Path:
    origin = "path="
    if path is None:
        path = os.environ.get(_VARIABLE) or None
        origin = f"the environment variable {_VARIABLE}="
        if path is None:
            msg = (
                f"load_gop_debate was given no path, and the environment variable {_VARIABLE} is not set. "
                f"{_PUBLISHED}. Get it there and {_HOW}."
            )
            raise FileNotFoundError(msg)
    # Path("") would be the current folder, which nobody means who passes an empty string.
    if not isinstance(path, str | os.PathLike) or not str(path):
        must = "must be a non-empty str, a path-like or None"
        msg = f"The 'path' parameter of load_gop_debate {must}. Got {path!r} instead."
        raise InvalidParameterError(msg)
    named = Path(path).expanduser()
    if named.is_file():
        return named
    if not named.exists():
        where = f"{origin}{str(path)!r} names no file and no folder"
        msg = f"load_gop_debate: {where}. {_PUBLISHED}. Get it there and {_HOW}."
        raise FileNotFoundError(msg)
    candidates = (named / _FILE, named / _FOLDER / _FILE)
    for file in candidates:
        if file.is_file():
            return file
    tried = " nor ".join(repr(str(file.relative_to(named))) for file in candidates)
    msg = (
        f"load_gop_debate: the folder that {origin}{str(path)!r} names holds neither {tried}. "
        f"{_PUBLISHED}. Get it there and {_HOW}."
    )
    raise FileNotFoundError(msg)


def _read_csv(file: Path) -> pd.DataFrame:
    raw = file.read_bytes()
    for start, what in _OTHER_FORMATS:
        if raw.startswith(start):
            msg = f"load_gop_debate: {str(file)!r} {what}."
            raise ValueError(msg)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = (
            f"load_gop_debate: {str(file)!r} is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}. "
            f"The published file is UTF-8; get it anew, or save this one as UTF-8."
        )
        raise ValueError(msg) from error
    if not text.strip():
        msg = f"load_gop_debate: {str(file)!r} is empty. {_PUBLISHED}."
        raise ValueError(msg)
    try:
        # Only an empty field is missing: a tweet that reads "NA" or "null" is a tweet. newline="" keeps a line break
        # within a tweet what it is.
        frame = pd.read_csv(
            io.StringIO(text, newline=""),
            keep_default_na=False,
            na_values=[""],
            dtype={"text": str, "sentiment": str},
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        msg = f"load_gop_debate: {str(file)!r} cannot be read as CSV: {str(error).strip()}. {_PUBLISHED}."
        raise ValueError(msg) from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what exceeds the header for row labels
        msg = (
            f"load_gop_debate: {str(file)!r} has rows with more fields than its header has columns "
            f"({len(frame.columns)}). A text with commas must stand in double quotes."
        )
        raise ValueError(msg)
    return frame


def _check_columns(frame: pd.DataFrame, file: Path) -> None:
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        found = [str(name) for name in frame.columns]
        msg = (
            f"load_gop_debate: {str(file)!r} lacks {len(missing)} of the {len(_COLUMNS)} columns of {_FILE}: "
            f"{', '.join(map(repr, missing))}. It has {_listed([repr(name) for name in found])}.{_hint(found, missing)}"
        )
        raise ValueError(msg)
    if frame.empty:
        msg = f"load_gop_debate: {str(file)!r} has a header, but no rows."
        raise ValueError(msg)


def _hint(found: list[str], missing: list[str]) -> str:
    """Return what probably went wrong, as a sentence with a leading space, or ""."""
    by_folded = {name.strip().casefold(): name for name in found}
    pairs = [(by_folded[name], name) for name in missing if name in by_folded]
    if pairs:
        renames = ", ".join(f"{old!r} to {new!r}" for old, new in pairs)
        return f" Case and blanks matter in the names: rename {renames}."
    if len(found) == 1:
        for mark, said in ((";", "semicolons"), ("\t", "tabs")):
            if mark in found[0]:
                return f" The fields seem to be separated by {said}; they must be separated by commas."
    if len(missing) == len(_COLUMNS):
        return f" Is it another file, or one without its header? {_PUBLISHED}."
    return ""


def _check_texts(text: pd.Series, file: Path) -> None:
    rows = [row for row, value in enumerate(text.tolist()) if not isinstance(value, str) or not value.strip()]
    if rows:
        msg = (
            f"load_gop_debate: {str(file)!r} has {len(rows)} row(s) without a text in the column 'text': "
            f"{_rows(rows)}. Drop them from the file; the published one has a text in every row."
        )
        raise ValueError(msg)


def _to_labels(sentiment: pd.Series, file: Path) -> pd.Series:
    values = sentiment.tolist()
    labels = [value.strip().lower() if isinstance(value, str) else None for value in values]
    rows = [row for row, label in enumerate(labels) if label not in SENTIMENTS]
    if rows:
        unknown = list(dict.fromkeys("nothing" if pd.isna(values[row]) else repr(values[row]) for row in rows))
        msg = (
            f"load_gop_debate: {str(file)!r} has {len(rows)} row(s) whose 'sentiment' is not Negative, Neutral or "
            f"Positive: {_rows(rows)} (there it is {_listed(unknown)}). Correct or drop them."
        )
        raise ValueError(msg)
    return pd.Series(labels, index=sentiment.index, name="sentiment")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, … ({len(names)} in all)"


def _rows(rows: list[int]) -> str:
    return (
        f"{'row' if len(rows) == 1 else 'rows'} {_listed([str(row) for row in rows])}, counted from 0 after the header"
    )
