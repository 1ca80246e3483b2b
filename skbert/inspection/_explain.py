"""explain, the function itself: which words carried a decision. Part of ``inspection``, at its top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbert._engine.probing import probing
from skbert._sklearn import take_rows
from skbert._texts import check_texts, show
from skbert.exceptions import InvalidParameterError, ModelFilesError
from skbert.inspection._by_gradients import GradientWay, WordAttributions, find_way
from skbert.inspection._cases import Case, Decider, Text, log_odds, words_of
from skbert.inspection._explanation import Explanation
from skbert.inspection._leave_one_out import leave_one_out

__all__ = ["explain"]

_METHODS = ("auto", "leave_one_out", "integrated_gradients")
_MANY_WORDS = 100  # beyond which "auto" prefers gradients


def explain(X: Any, estimator: Any, *, method: str = "auto", target: Any = None) -> list[Explanation]:
    """Tell which words of each text carried the decision of a classifier.

    Works on every fitted estimator that gives probabilities for texts,
    whatever is in it: a bag of words, a BERT, a search, a vote. The numbers
    are log-odds: what a word adds to log(p / (1 - p)) of the explained class.

    Parameters
    ----------
    X : sequence of str or of pairs of str, of shape (n_samples,)
        Texts, in any container that the estimator takes. A missing text is
        left to the estimator; where it takes one, its explanation has no
        words.
    estimator : Pipeline or classifier
        Fitted on texts, with `predict_proba` and `classes_`.
    method : {'auto', 'leave_one_out', 'integrated_gradients'}, default='auto'
        "leave_one_out" takes each word out of the text as it was given and
        asks the estimator again ([1]_); see Notes. "integrated_gradients"
        ([2]_) adds up the gradients on the way from a baseline to the text,
        and shares the difference of the log-odds out among the words; it needs a
        :class:`~skbert.BertSentimentClassifier` with no other steps than
        :class:`~skbert.TextCleaner` before it. "auto" is "leave_one_out", but
        gradients for texts of more than 100 words where these can be had.
    target : label, sequence of labels or None, default=None
        The explained class: an element of `classes_` for all texts, or one a
        text. None is the class that the estimator predicts for each.

    Returns
    -------
    list of Explanation, of length n_samples
        In the order of X. `words` stand where they stand in the texts as they
        were given, whatever the cleaners did to them.

    Raises
    ------
    InvalidParameterError
        The estimator gives no probabilities or none of one output, there is
        no such class, or the method is not possible.
    NotFittedError
        The estimator is not fitted.
    TextInputError
        X is not a sequence of texts.
    ModelFilesError
        The gradients of the model can't be had, and
        ``method="integrated_gradients"``.

    Warns
    -----
    SkbertWarning
        The gradients of a text did not sum to the difference of the log-odds
        within 2 %.

    See Also
    --------
    skbert.inspection.Explanation : What is returned, with tables and pictures.
    skbert.inspection.attention : What the model itself looks at.
    sklearn.inspection.permutation_importance : Of columns, over all rows.

    Notes
    -----
    *Words* are what a reader sees as one: letters with the apostrophes and
    hyphens between them, a number, a hashtag, a handle, a link, an emoji, an
    HTML entity, a run of punctuation; in scripts without blanks each
    character.

    *Leaving one out.* The attribution of a word is the log-odds for the text
    minus those for the text without the word, exactly as `predict_proba` gives
    them. The white space behind the word goes with it where there is some
    before it too, or the text begins with it; that before it where nothing is
    left behind it. Where there is none on either side, a blank takes the word's place, so
    that its neighbours don't grow together. The numbers need not sum to
    anything: of two words that say the same, neither is missed. Where a text
    is cut at `max_length`, words behind the cut have 0, and taking out an
    early one lets cut words in, which is part of its number.

    *Log-odds* are log(p) minus the log of the sum of the other classes'
    probabilities, each 1e-38 at least, since a forest's may be 0.

    *Integrated gradients* sum to `log_odds` minus `baseline_log_odds` within
    2 % of max(1, that difference), steps doubling until they do. The baseline
    is the text with the word embedding of padding for each of its pieces; a
    prompt and special tokens stay. Each piece of the tokenizer belongs to the
    word whose characters it covers most. White space that a tokenizer has
    pieces for counts as a word where a text has no other.

    *Cost.* Leaving one out, a text of n words costs n passes over texts of
    n - 1 words, so that the time grows with the square of its length: 7
    seconds for 100 tweets of 20 words, with four layers of all-MiniLM-L6-v2
    on two CPU cores. Gradients cost some 20 to 130 passes, now and then more,
    whatever the number of words: 23 seconds for the same tweets. Variants are
    packed as all texts are, not stored, and made in calls of at most 4,096, so
    that the memory is bounded. Steps that work in other threads or processes
    (``n_jobs``) store them after all.

    *Exactness.* In float32 an explanation does not depend on the texts beside
    it beyond 1e-5 (gradients whose sum is just at its bound may take twice the
    steps, and differ within it). In bfloat16 the numbers were off by some
    hundredths of the largest one; an embedder with ``dtype="float32"`` avoids
    that.

    References
    ----------
    .. [1] J. Li, W. Monroe, D. Jurafsky (2016). "Understanding Neural Networks
       through Representation Erasure." arXiv:1612.08220.
    .. [2] M. Sundararajan, A. Taly, Q. Yan (2017). "Axiomatic Attribution for
       Deep Networks." ICML 2017.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbert.datasets import load_sample_tweets
    >>> from skbert.inspection import explain
    >>> X, y = load_sample_tweets(return_X_y=True)
    >>> pipe = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)).fit(X, y)
    >>> explanation = explain(["What a great answer, thank you!"], pipe)[0]
    >>> explanation.predicted
    'positive'
    >>> explanation.to_frame().sort_values("attribution", ascending=False).word.tolist()[:2]
    ['thank', 'great']
    """
    if not isinstance(method, str) or method not in _METHODS:
        must = f"a str among {{{', '.join(map(repr, _METHODS))}}}"
        raise _wrong(must, show(method), "method")
    decider = Decider(estimator)
    way = find_way(estimator)
    if method == "integrated_gradients" and isinstance(way, str):
        must = (
            "'leave_one_out' or 'auto' for this estimator, since integrated gradients need a BertSentimentClassifier "
            f"with no other steps than TextCleaner before it, and {way}"
        )
        raise _wrong(must, show(method), "method")
    items = check_texts(X, missing="keep", estimator="explain", is_transformer=False).items
    given = _codes(target, decider.classes, len(items))

    if hasattr(X, "columns") and len(items) == np.shape(X)[1]:
        # An estimator that reads a frame's columns for its rows shows it only where their numbers differ.
        with probing(store=True):
            decider.probabilities(take_rows(X, [0] * (len(items) + 1)), len(items) + 1)
    # Outside `probing`: here the store serves, and what is cut is told, once.
    probabilities = decider.probabilities(X, len(items))
    with probing(store=True):
        predicted = decider.predict(X, len(items))
    targets = given if given is not None else _codes_of_predicted(predicted, decider.classes)

    # One case for each different text and target; those of the same text stand side by side.
    first: dict[Text, int] = {}
    for row, item in enumerate(items):
        if item is not None:
            first.setdefault(item, row)
    keys = dict.fromkeys((first[item], targets[row]) for row, item in enumerate(items) if item is not None)
    cases = [_case(items[row], row, code, probabilities) for row, code in sorted(keys)]
    results = dict(zip(sorted(keys), _attribute(method, decider, way, X, cases), strict=True))

    explanations = []
    for row, (item, code) in enumerate(zip(items, targets, strict=True)):
        shared = {
            "text": item,
            "target": decider.classes[code],
            "predicted": predicted[row],
            "probability": float(probabilities[row, code]),
        }
        whole = float(log_odds(probabilities[row : row + 1], code)[0])
        if item is None:
            used = "leave_one_out" if method == "auto" else method
            found = Explanation(log_odds=whole, words=(), attributions=np.zeros(0), method=used, **shared)
        else:
            found = _explanation(results[first[item], code], whole, shared)
        explanations.append(found)
    return explanations


def _case(item: Any, row: int, code: int, probabilities: np.ndarray) -> Case:
    return Case(item, code, row, words_of(item), float(log_odds(probabilities[row : row + 1], code)[0]))


def _explanation(
    found: tuple[Case, np.ndarray | WordAttributions], whole: float, shared: dict[str, Any]
) -> Explanation:
    case, result = found
    if isinstance(result, np.ndarray):
        # Each has an array of its own: those of copies must not change together.
        values = result.copy()
        return Explanation(log_odds=whole, words=case.words, attributions=values, method="leave_one_out", **shared)
    return Explanation(
        log_odds=result.log_odds,
        words=result.words,
        attributions=result.values.copy(),
        method="integrated_gradients",
        baseline_log_odds=result.baseline_log_odds,
        n_steps=result.n_steps,
        **shared,
    )


def _attribute(
    method: str, decider: Decider, way: GradientWay | str, X: Any, cases: Sequence[Case]
) -> list[tuple[Case, np.ndarray | WordAttributions]]:
    """Return each case with what was found by the method, or by the one that "auto" chooses for it."""
    found: list[Any] = [None] * len(cases)
    if not isinstance(way, str) and method != "leave_one_out":
        chosen = [k for k, case in enumerate(cases) if method != "auto" or len(case.words) > _MANY_WORDS]
        try:
            results = way.explain([cases[k] for k in chosen])
        except ModelFilesError:
            if method != "auto":
                raise
        else:
            for k, result in zip(chosen, results, strict=True):
                found[k] = result
    rest = [k for k, result in enumerate(found) if result is None]
    for k, values in zip(rest, leave_one_out(decider, X, [cases[k] for k in rest]), strict=True):
        found[k] = values
    return list(zip(cases, found, strict=True))


def _codes_of_predicted(predicted: list[Any], classes: list[Any]) -> list[int]:
    places = {label: code for code, label in enumerate(classes)}
    for row, label in enumerate(predicted):
        if label not in places:
            got = f"None, and predict gives {show(label)} for row {row} of X, which is not among them,"
            must = f"one of the labels {_listed(classes)}"
            raise _wrong(must, got)
    return [places[label] for label in predicted]


def _codes(target: Any, classes: list[Any], n: int) -> list[int] | None:
    """Return the places of the asked labels in `classes`, one a row of X; None where none are asked for."""
    if target is None:
        return None
    must = f"None, one of the labels {_listed(classes)}, or a sequence with one of them for each row of X"
    is_label = isinstance(target, str | bytes) or not hasattr(target, "__len__") or getattr(target, "ndim", 1) == 0
    if is_label:
        return [_code(target.item() if isinstance(target, np.ndarray) else target, classes, must)] * n
    method = next((name for name in ("tolist", "to_list", "to_pylist") if hasattr(target, name)), None)
    labels = list(getattr(target, method)() if method else target)
    if len(labels) != n:
        raise _wrong(must, f"{len(labels):,} labels for {n:,} rows")
    return [_code(label, classes, must, f" in row {row}") for row, label in enumerate(labels)]


def _code(label: Any, classes: list[Any], must: str, where: str = "") -> int:
    plain = label.item() if isinstance(label, np.generic) else label
    for code, one in enumerate(classes):
        if isinstance(plain, str) == isinstance(one, str) and plain == one:
            return code
    raise _wrong(must, show(plain) + where)


def _listed(classes: list[Any]) -> str:
    shown = [repr(label) for label in classes[:20]]
    return ", ".join(shown) + (f", … ({len(classes)} in all)" if len(classes) > len(shown) else "")


def _wrong(must: str, got: str, name: str = "target") -> InvalidParameterError:
    return InvalidParameterError(f"The {name!r} parameter of explain must be {must}. Got {got} instead.")
