"""TextCleaner: texts to cleaned texts, beside the embedder. Imports only ``_texts``, ``_params`` and its own room.

What the rules do is in ``rules``; here are the parameters, the kinds of input
and scikit-learn's conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError

from skbert._base import SkbertEstimator
from skbert._cleaner.rules import CleaningRules, Settings
from skbert._params import Rules, anything, boolean, check_params, integer, none, one_of
from skbert._sklearn import FitTask, is_output_wrapped, keep_index, with_callbacks
from skbert._texts import Item, TextInput, check_names, check_texts, rebuild

__all__ = ["TextCleaner"]


def _is_word_collection(value: Any) -> bool:
    if not isinstance(value, Collection) or isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", 1) > 1:
        return False
    return all(isinstance(word, str) for word in value)


def _as_rows(X: Any, n_sides: int) -> list[tuple[str | None, ...]]:
    """Return X as rows, of which every library makes a frame; polars would take a list of texts for one row."""
    if hasattr(X, "column_names"):  # a Table of pyarrow
        values = list(zip(*(column.to_pylist() for column in X.columns), strict=True))
    else:
        # tolist first: a Categorical of pandas 2 warns of to_list
        method = next((name for name in ("tolist", "to_list", "to_pylist") if hasattr(X, name)), None)
        values = getattr(X, method)() if method else X
    rows = [value if isinstance(value, list | tuple) else (value,) * n_sides for value in values]
    return [tuple(side if isinstance(side, str) else None for side in row) for row in rows]


class TextCleaner(TransformerMixin, SkbertEstimator):
    """Clean texts before a BERT reads them.

    Social media posts hold much that a language model was not trained on: links, handles, hashtags written as one
    word, emoji, entities, letters repeated for emphasis. This transformer replaces it by words that BERT knows, and
    gives back the kind of container that it was given, so that it stands in front of a
    :class:`~skbert.BertEmbedder` in a :class:`~sklearn.pipeline.Pipeline`. The defaults fit tweets and keep what
    carries sentiment: the words of hashtags, the names of emoji, punctuation, negations. For well-edited text they
    change next to nothing. There is nothing to learn: `transform` works without `fit`.

    Parameters
    ----------
    fix_encoding : bool, default=True
        Whether ftfy repairs text that was decoded with the wrong encoding
        ("donâ€™t"), along with curly quotation marks, ligatures, full-width
        letters, control characters and line ends.
    html_entities : {'unescape', 'keep'}, default='unescape'
        "unescape" replaces ``&amp;`` and its like by their characters, however
        often they were escaped. Only with the semicolon: "?a=1&copy=2" stays.
    urls : {'replace', 'drop', 'keep'}, default='replace'
        What ``https://…``, ``www.…`` and ``pic.twitter.com/…`` become, also links
        that Twitter has cut short ("http:…"). "replace" puts the word "link".
    mentions : {'replace', 'drop', 'keep'}, default='replace'
        What "@handle" becomes. "replace" puts the word "user". An e-mail
        address is no mention.
    retweet_marks : {'drop', 'keep'}, default='drop'
        What "RT @handle:" becomes, with or without the colon. Kept, its handle
        is a mention like others.
    hashtags : {'split', 'word', 'drop', 'keep'}, default='split'
        What "#GOPDebate2016" becomes: "GOP Debate 2016" with "split", which
        goes by capitals, digits and underscores; "GOPDebate2016" with "word".
        A "#" with nothing but digits is a number sign, no hashtag.
    emoji : {'name', 'drop', 'keep'}, default='name'
        "name" puts the Unicode name ("face with tears of joy") without skin
        tone and gender; a flag is named by the letters of its country ("us
        flag"). Emoticons such as ":-)" are left alone.
    numbers : {'keep', 'replace', 'drop'}, default='keep'
        What "2016", "1,000" and "3.5" become. "replace" puts the word
        "number". Digits beside letters ("4th", "F16") are no number.
    repeated_chars : int or None, default=3
        Longest run of one character, digits and white space excepted, or of
        one emoji: with 3, "soooooo" becomes "sooo" and "!!!!!!" becomes "!!!".
        Fewer than 3 harm words such as "KKK" or "III", fewer than 2 many more
        ("good"). None sets no limit.
    case : {'keep', 'lower'}, default='keep'
        The tokenizer of an uncased model lowers the case by itself, and a
        cased one needs it.
    punctuation : {'keep', 'drop'}, default='keep'
        "drop" leaves apostrophes within words ("don't") and the marks within
        tokens that are kept ("3.5", a kept URL).
    stop_words : 'english', collection of str or None, default=None
        Words to drop, in any case. "english" is scikit-learn's list, which
        holds "not", "no" and "never": it suits bags of words better than
        sentiment.
    whitespace : {'collapse', 'keep'}, default='collapse'
        "collapse" makes one blank of each run of white space and none at the
        ends.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen by `fit`. Only where X is a frame.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns. Only where they all are str.

    See Also
    --------
    BertEmbedder : Turn texts into vectors with a frozen BERT.
    sklearn.feature_extraction.text.TfidfVectorizer : Count the words of cleaned texts.

    Notes
    -----
    **Missing values** (None, NaN, pd.NA) pass through untouched, a pair with one side missing does so as a whole; the
    embedder's `missing` decides about them. A text of which nothing is left is "".

    **Order.** Entities, encoding, then one scan for tokens from left to right, case, white space; and again until
    nothing changes, nearly always just once more. So cleaning a second time changes nothing, whatever the parameters,
    and a text's result does not depend on its neighbours. A token that is kept is kept whole: `punctuation`,
    `repeated_chars` and `stop_words` do not reach into it.

    **Cost.** 25 microseconds a different tweet on one core, 0.3 seconds for the 13,871 tweets of
    :func:`~skbert.datasets.load_gop_debate`; equal texts are cleaned once a call. The time grows linearly with the
    length of a text.

    **Copies.** Without its mark a retweet equals its original, and replaced links and handles make more texts equal. In
    cross-validation group by the cleaned text, or copies sit on both sides of the split.

    **Emoji** are named by Python's own Unicode data; one that is newer becomes the word "symbol".

    Examples
    --------
    >>> from skbert import TextCleaner
    >>> tweets = ["RT @ann: Sooooo good &amp; true!!! #GOPDebate 😂 http://t.co/ToP8nT", "@bob I can't even…"]
    >>> TextCleaner().transform(tweets)
    ['Sooo good & true!!! GOP Debate face with tears of joy link', "user I can't even…"]
    >>> TextCleaner(urls="drop", emoji="drop", hashtags="drop", punctuation="drop", case="lower").transform(tweets)
    ['sooo good true', "user i can't even"]
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here

    _parameter_rules: ClassVar[Rules] = {
        "fix_encoding": (boolean(),),
        "html_entities": (one_of("unescape", "keep"),),
        "urls": (one_of("replace", "drop", "keep"),),
        "mentions": (one_of("replace", "drop", "keep"),),
        "retweet_marks": (one_of("drop", "keep"),),
        "hashtags": (one_of("split", "word", "drop", "keep"),),
        "emoji": (one_of("name", "drop", "keep"),),
        "numbers": (one_of("keep", "replace", "drop"),),
        "repeated_chars": (integer(1), none()),
        "case": (one_of("keep", "lower"),),
        "punctuation": (one_of("keep", "drop"),),
        "stop_words": (one_of("english"), anything("a collection of str", _is_word_collection), none()),
        "whitespace": (one_of("collapse", "keep"),),
    }

    def __init__(
        self,
        *,
        fix_encoding: bool = True,
        html_entities: str = "unescape",
        urls: str = "replace",
        mentions: str = "replace",
        retweet_marks: str = "drop",
        hashtags: str = "split",
        emoji: str = "name",
        numbers: str = "keep",
        repeated_chars: int | None = 3,
        case: str = "keep",
        punctuation: str = "keep",
        stop_words: str | Collection[str] | None = None,
        whitespace: str = "collapse",
    ) -> None:
        self.fix_encoding = fix_encoding
        self.html_entities = html_entities
        self.urls = urls
        self.mentions = mentions
        self.retweet_marks = retweet_marks
        self.hashtags = hashtags
        self.emoji = emoji
        self.numbers = numbers
        self.repeated_chars = repeated_chars
        self.case = case
        self.punctuation = punctuation
        self.stop_words = stop_words
        self.whitespace = whitespace

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and X; there is nothing to learn.

        Parameters
        ----------
        X : list, tuple, 1-D array, Series of str, (n, 1) array or one-column frame; for pairs a list of 2-tuples, \
an (n, 2) array or a two-column frame
            The texts; missing values may be among them.
        y : Ignored
            Not used, present here for API consistency by convention.

        Returns
        -------
        self : TextCleaner
            The same object.
        """
        check_params(self)
        texts = self._check(X)
        task = FitTask(self, X, y).begin()
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
        if texts.columns is not None:
            self.n_features_in_ = len(texts.columns)
            if texts.has_names:
                self.feature_names_in_ = np.array(texts.columns, dtype=object)
        self._n_sides = len(texts.columns) if texts.columns is not None else 1 + texts.is_pairs
        series_name = getattr(X, "name", None)
        self._series_name = series_name if isinstance(series_name, str) and series_name else None
        task.end()
        return self

    def transform(self, X: Any) -> Any:
        """Clean texts.

        Parameters
        ----------
        X : list, tuple, 1-D array, Series of str, (n, 1) array or one-column frame; for pairs a list of 2-tuples, \
an (n, 2) array or a two-column frame
            The texts; missing values may be among them. Of pairs both sides are cleaned.

        Returns
        -------
        X_cleaned : like X
            The cleaned texts in the same kind of container: a Series for a
            Series, with its index and name, and so on.
        """
        check_params(self)
        texts = self._check(X)
        fitted = vars(self)
        n_sides = fitted.get("_n_sides") if is_output_wrapped(self) else fitted.get("n_features_in_")
        check_names(texts, fitted.get("feature_names_in_"), n_sides, type(self).__name__)
        clean = cache(CleaningRules(self._settings()))  # equal texts are cleaned once a call
        cleaned: list[Item] = [
            clean(item) if isinstance(item, str) else item and (clean(item[0]), clean(item[1])) for item in texts.items
        ]
        same_kind = rebuild(X, cleaned)
        if is_output_wrapped(self) and (texts.columns is None or hasattr(X, "column_names")):
            return keep_index(self, _as_rows(same_kind, n_sides=1 + texts.is_pairs), X)
        return same_kind

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, which are those of the input.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            The names to return. None is the names seen by `fit`, that of a
            Series too, or "x0" (and "x1" for pairs) where there were none.

        Returns
        -------
        feature_names_out : ndarray of str objects
            One name for single texts, two for pairs.
        """
        seen = getattr(self, "feature_names_in_", None)
        n_sides = getattr(self, "_n_sides", None)
        if input_features is not None:
            names = np.asarray(input_features, dtype=object)
            if seen is not None and not np.array_equal(seen, names):
                msg = f"input_features is not equal to feature_names_in_: got {list(names)}, expected {list(seen)}."
                raise ValueError(msg)
            if n_sides is not None and len(names) != n_sides:
                msg = f"input_features should have length equal to number of features ({n_sides}), got {len(names)}."
                raise ValueError(msg)
            return names
        if seen is not None:
            return seen
        if n_sides is None:
            # NotFittedError is an AttributeError too, and by these words scikit-learn's set_output knows that it has
            # to do without names, so that an unfitted cleaner still transforms.
            msg = (
                f"This {type(self).__name__} does not provide get_feature_names_out before it is fitted, because it "
                "does not know whether it cleans texts or pairs. Call fit, or pass input_features."
            )
            raise NotFittedError(msg)
        # In a ColumnTransformer a Series comes with its column's name, by which later steps are asked.
        series_name = getattr(self, "_series_name", None)
        is_named = series_name is not None and n_sides == 1
        return np.array([series_name] if is_named else ["x0", "x1"][:n_sides], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _trace(self, text: str) -> tuple[str, np.ndarray]:
        """Clean one text and tell where each character of the result came from.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        cleaned : str
            What `transform` makes of the text.
        spans : ndarray of shape (len(cleaned), 2) and dtype int64
            For each character of `cleaned` the half-open range of characters
            of `text` that it came from. Neither starts nor ends decrease.

        Notes
        -----
        A character that was left alone has a range of one. Each character of what replaces a token has the range of
        the whole token: "link", "user", "number", the name of an emoji, what an entity stands for. Of letters
        repeated too often, and of emoji, the last that is kept covers those that are not; of a run of white space the
        first stays and the others are dropped. What was dropped is in no range. A blank that was put in, to set two
        words apart or in the place of a dropped token, has an empty range.

        **Cost.** Some seven times that of cleaning; it grows linearly with the length of the text.
        """
        return self._tracer()(text)

    def _tracer(self) -> Callable[[str], tuple[str, np.ndarray]]:
        """Return what `_trace` does, for many texts: the rules are made once."""
        check_params(self)
        rules = CleaningRules(self._settings())

        def trace(text: str) -> tuple[str, np.ndarray]:
            self._check([text])
            return rules.trace(text)

        return trace

    def _check(self, X: Any) -> TextInput:
        return check_texts(X, missing="keep", estimator=type(self).__name__)

    def _settings(self) -> Settings:
        values = {name: getattr(self, name) for name in Settings._fields}
        if self.stop_words is not None and not isinstance(self.stop_words, str):
            values["stop_words"] = tuple(self.stop_words)
        return Settings(**values)
