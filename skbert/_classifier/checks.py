"""All that a fit can refuse before a text is embedded. Part of ``_classifier``.

The head would check much of it too, but later, and under its own name, which
the user need not know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skbert._embedder import BertEmbedder
from skbert._head import inputs
from skbert._params import check_params
from skbert._texts import TextInput, check_texts
from skbert.exceptions import TextInputError

__all__ = ["check_labels", "check_same_kind", "check_same_vectors", "check_start", "texts_of"]


def check_start(X: Any, source: BertEmbedder, device: str, name: str) -> TextInput:
    """Return the texts of X, after checks of the embedder that is to read them and of the head's device.

    Parameters
    ----------
    X : sequence of str or of pairs of str
        What is to be learned from.
    source : BertEmbedder
        The user's.
    device : str
        Where the head is to be trained.
    name : str
        Who asks, for the messages.
    """
    check_params(source)
    inputs.resolve_device(device, name)
    return texts_of(X, source, name)


def texts_of(X: Any, embedder: BertEmbedder, name: str) -> TextInput:
    """Return the texts of X, as the embedder takes them; `name` is the classifier's, for the messages."""
    return check_texts(X, missing=embedder.missing, estimator=name, embedder=type(embedder).__name__)


def check_labels(
    y: Any,
    sample_weight: Any,
    classes: Any,
    before: np.ndarray | None,
    class_weight: Any,
    n: int,
    name: str,
    whole: bool,
) -> np.ndarray:
    """Return the labels as an array, after checks of labels and weights.

    Parameters
    ----------
    y, sample_weight, classes : array-like or None
        As the user gave them.
    before : ndarray or None
        The classes of the fit that is gone on from.
    class_weight : dict, 'balanced', 'balanced_sqrt' or None
        The parameter.
    n : int
        Number of texts.
    name : str
        Who asks, for the messages.
    whole : bool
        Whether these are all data (`fit`) or a part of them (`partial_fit`).
    """
    if y is None:
        msg = f"This {name} estimator requires y to be passed, but the target y is None."
        raise ValueError(msg)
    inputs.check_labels_present(y, name)  # scikit-learn's own check sorts labels first, and fails at NaN among str
    y = column_or_1d(y, warn=True)
    check_consistent_length(range(n), y)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    weight = inputs.check_sample_weight(sample_weight, len(y))
    counted, weight = y[weight > 0], weight[weight > 0]
    if whole:
        known = inputs.classes_of_fit(counted, before, name)
    else:
        inputs.check_class_weight_of_part(class_weight, name)
        known = inputs.known_classes(classes, before, name)
    inputs.class_factors(class_weight, known, inputs.encode_labels(counted, known), weight, name)
    return y


def check_same_kind(texts: TextInput, fitted_on_pairs: bool, name: str) -> None:
    """Refuse pairs where the fit had single texts, and single texts where it had pairs."""
    # Rows that are all empty are of either kind: a missing pair has the vector of the empty text.
    if texts.is_pairs != fitted_on_pairs and any(texts.items):
        kinds = {False: "single texts", True: "pairs of texts"}
        fitted, got = kinds[fitted_on_pairs], kinds[texts.is_pairs]
        msg = f"This {name} was fitted on {fitted}, but X holds {got}. Pass {fitted}, or fit again on {got}."
        raise TextInputError(msg)


def check_same_vectors(embedder: BertEmbedder, serving: BertEmbedder, fitted: BertEmbedder, what: str) -> None:
    """Refuse to go on with weights of the head that were trained on other vectors.

    Parameters
    ----------
    embedder : BertEmbedder
        The one to go on with.
    serving : BertEmbedder
        The one of the last fit, as it would be used now.
    fitted : BertEmbedder
        The one of the last fit, as it was.
    what : {'warm_start=True', 'partial_fit'}
        What goes on.
    """
    if embedder._identity() != serving._identity():
        now, before = embedder.get_params(), fitted.get_params()
        idle = ("revision", "device", "batch_tokens", "cache", "store_layers", "missing", "verbose")
        changed = [key for key in now if key not in idle and not np.array_equal(now[key], before[key])]
        msg = (
            f"{what} goes on with weights that belong to other vectors: the embedder's {changed} changed. "
            "Put the embedder's parameters back, or call fit with warm_start=False."
        )
        raise ValueError(msg)
