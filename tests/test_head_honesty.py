"""HeadClassifier says how sure it may be, and tells of copies that flatter its validation part."""

import pickle
import warnings
from copy import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier
from skbert._head.calibration import find_temperature
from skbert._head.leaks import _are_near, warn_of_leaks
from skbert._head.rows import measure, merge_copies
from skbert._head.weights import to_network
from skbert._training import Part, log_proba
from skbert.exceptions import LeakageWarning
from tests._counting import made_up

X, Y = make_classification(300, 12, n_informative=6, n_classes=3, class_sep=1.5, random_state=0)


def quick(**changes):
    """Return a head that is trained in a moment."""
    params = {"hidden_layer_sizes": (16,), "max_iter": 15, "learning_rate_init": 1e-2, "weight_decay": 0.1}
    return HeadClassifier(**(params | {"random_state": 0} | changes))


# ---- calibration ---------------------------------------------------------------------------------------------------


def test_the_temperature_is_that_of_the_least_validation_loss():
    """On a held-out part it minimises the weighted loss, but for a prior that asks for 1; predictions stay."""
    head = quick(max_iter=40, n_iter_no_change=40, dropout=0.0).fit(
        X, Y, sample_weight=np.random.RandomState(0).uniform(0.2, 3.0, 300)
    )
    plain = copy(head)
    plain.temperature_ = 1.0
    np.testing.assert_array_equal(head.predict(X), plain.predict(X))
    scaled = plain.predict_proba(X) ** (1 / head.temperature_)
    np.testing.assert_allclose(head.predict_proba(X), scaled / scaled.sum(axis=1, keepdims=True), rtol=1e-10)

    rng = np.random.RandomState(1)
    network = to_network(head.coefs_, head.intercepts_, torch.device("cpu"))
    rows = torch.from_numpy(((X - head.mean_) / head.scale_).astype(np.float32))
    logarithms = torch.linspace(0, 1.5, 3001, dtype=torch.float64)
    for n, chance in ((300, 0.0), (300, 0.3), (20, 0.3)):
        y = torch.from_numpy(np.where(rng.rand(n) < chance, rng.permutation(Y)[:n], Y[:n]))
        validation = Part(rows[:n], y, torch.from_numpy(rng.uniform(0.2, 3.0, n)), torch.ones(n))
        log_p = log_proba(network, validation.X).double()
        losses = [
            (torch.nn.functional.cross_entropy(log_p / t.exp(), y, reduction="none") * validation.weight).sum()
            + 2 * t**2
            for t in logarithms
        ]
        expected = logarithms[int(torch.stack(losses).argmin())].exp().item()
        assert find_temperature(network, validation) == pytest.approx(expected, rel=2e-3)
        assert (expected > 1.1) == (chance > 0)  # it cools a network that is too sure, and makes none surer


def too_sure(seed):
    """Return a head that was not regularised and learned from labels that are partly chance, and new rows."""
    X, y = make_classification(1000, 12, n_informative=6, n_classes=3, class_sep=1.5, random_state=seed)
    rng = np.random.RandomState(seed)
    y = np.where(rng.rand(1000) < 0.3, rng.permutation(y), y)
    head = quick(dropout=0.0, weight_decay=0.0, max_iter=60, n_iter_no_change=60, learning_rate_init=0.03)
    return head.set_params(random_state=seed).fit(X[:150], y[:150]), X[150:], y[150:]


def test_a_head_that_is_too_sure_is_cooled():
    """New rows are given better probabilities in the mean, and hardly worse ones in any case."""
    gains = []
    for seed in range(6):
        head, X, y = too_sure(seed)
        plain = copy(head)
        plain.temperature_ = 1.0
        gains.append(log_loss(y, plain.predict_proba(X)) - log_loss(y, head.predict_proba(X)))
    assert np.mean(gains) > 0.01
    assert min(gains) > -0.01


def test_without_a_validation_part_the_temperature_is_one():
    """And partial_fit keeps that of a fit before it."""
    assert quick(early_stopping=False).fit(X, Y).temperature_ == 1.0
    assert quick().partial_fit(X, Y, classes=[0, 1, 2]).temperature_ == 1.0
    head, more, y = too_sure(0)
    before = head.temperature_
    assert before > 1.0
    assert head.partial_fit(more, y).temperature_ == before


# ---- leaks ---------------------------------------------------------------------------------------------------------


def test_copies_that_differ_by_rounding_are_warned_of():
    """Copies to the bit are on one side and no matter; copies with other last digits leak, and a warning says so."""
    X, Y = make_classification(300, 20, n_informative=6, n_classes=3, class_sep=1.5, random_state=0)
    exact = np.tile(X, (2, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakageWarning)
        quick().fit(exact, np.tile(Y, 2))
        quick().fit(X, Y)
        quick(early_stopping=False).fit(exact * (1 + 1e-6 * np.sign(exact)), np.tile(Y, 2))
    nearly = np.vstack([X, X * (1 + 1e-6)])
    with pytest.warns(LeakageWarning, match=r"\d+ of 60 rows of the validation part are equal .* but for rounding"):
        quick().fit(nearly, np.tile(Y, 2))


@pytest.mark.parametrize("n_columns", [16, 50, 1500])
def test_copies_are_found_among_strangers(n_columns):
    """Rows that differ by less than rounding may are found, those that differ in one column are not."""
    rng = np.random.RandomState(0)
    training, strangers = rng.randn(400, n_columns), rng.randn(50, n_columns)
    copies = training[rng.permutation(400)[:30]] + rng.uniform(-3e-4, 3e-4, (30, n_columns))
    off = training[rng.permutation(400)[:20]] + np.eye(1, n_columns) * 0.01
    X = np.vstack([training, strangers, copies, off]).astype(np.float32)
    moments = measure(X, np.arange(400), np.ones(400))
    found = _are_near(X, np.arange(400), np.arange(400, 500), moments, seed=0)
    np.testing.assert_array_equal(found, np.repeat([False, True, False], [50, 30, 20]))


def strange_data(kind, rng):
    """Return rows that are no copies, of a kind that might be taken for such."""
    X = rng.randn(400, 20)
    if kind == "few columns":
        return X[:, :2]
    if kind == "an outlier in each column":
        X[rng.randint(400, size=20), np.arange(20)] = 1e9
    elif kind == "numbers that overflow":
        X[7, 3], X[100, 5] = 1e300, -1e200
    elif kind == "mostly zeros":
        X *= rng.rand(400, 20) < 0.05
        X[:, 0] += np.arange(400)
    elif kind == "counts":
        X = rng.poisson(3.0, (400, 20)).astype(float)
    elif kind == "constant columns":
        X[:, 1:] = 7.0
    return X


@pytest.mark.parametrize(
    "kind",
    [
        "few columns",
        "an outlier in each column",
        "numbers that overflow",
        "mostly zeros",
        "counts",
        "constant columns",
    ],
)
def test_no_false_alarm(kind):
    """Rows that are only like each other, or that no distance can be told of, are not taken for copies."""
    for seed in range(3):
        rng = np.random.RandomState(seed)
        X = strange_data(kind, rng)
        y = rng.randint(2, size=len(X))
        held_out = np.zeros(len(X), dtype=bool)
        held_out[::5] = True
        merged = merge_copies(X, y, np.ones(len(X)))
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("error", LeakageWarning)
            moments = measure(X, merged.rows[~held_out], merged.weight[~held_out])
            warn_of_leaks(X, merged, held_out, moments, None, seed)


def test_texts_that_are_nearly_the_same_are_warned_of(tiny_bert_folder):
    """Retweets on both sides of the split are told, once a fit; exact copies, and no early stopping, are no matter."""
    texts = [f"{text} {word}" for text in made_up(30) for word in ("good", "awful")]
    y = ["nice", "nasty"] * 30
    classifier = BertSentimentClassifier(
        BertEmbedder(str(tiny_bert_folder), device="cpu"), max_iter=2, random_state=0, device="cpu"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakageWarning)
        classifier.fit(texts * 2, y * 2)
    retweets = [f"RT @somebody: {text}!" for text in texts]
    with pytest.warns(LeakageWarning, match="nearly the same as .*text_report names them.* TextCleaner") as caught:
        classifier.fit(texts + retweets, y * 2)
    assert len([one for one in caught if one.category is LeakageWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakageWarning)
        classifier.set_params(early_stopping=False).fit(texts + retweets, y * 2)
        classifier.set_params(early_stopping=True)
        # Rows of weight zero are no rows: here, all retweets.
        classifier.fit(texts + retweets, y * 2, sample_weight=np.repeat([1.0, 0.0], len(texts)))


def test_a_head_of_format_two_has_no_temperature():
    """What an older skbert has saved predicts as it did."""
    head = quick().fit(X, Y)
    state = head.__getstate__()
    del state["temperature_"]
    old = HeadClassifier.__new__(HeadClassifier)
    old.__setstate__({**state, "_skbert_format": 2})
    plain = copy(head)
    plain.temperature_ = 1.0
    np.testing.assert_array_equal(old.predict_proba(X), plain.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(head)).predict_proba(X), head.predict_proba(X))
