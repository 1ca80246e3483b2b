"""The ideas of the study of quality: each by its name, one change against the defaults."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import numpy as np
from _quality_data import ALL_LAYERS, LAST_FOUR
from _quality_heads import Attention, Columns, Mix, train
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import HeadClassifier

DEFAULTS = "defaults"
OWN = "plain (own loop)"
WITH_EMBEDDING = (0, *LAST_FOUR)
C_OF_LINEAR = (0.001, 0.003, 0.01, 0.03)
SHARE_OF_WORDS = 0.4


class Outcome(NamedTuple):
    """Probabilities of the rows to score, with the temperature and at 1, and what they cost."""

    proba: np.ndarray
    plain: np.ndarray | None  # None where there is no temperature
    epochs: int | None
    seconds: float


class Idea(NamedTuple):
    """One case: `run` takes corpus, rows to learn from, rows to score, and a seed, and returns an Outcome."""

    group: str
    name: str
    run: Callable

    @property
    def baseline(self):
        """The case that this one is compared with: it has the same loop."""
        return OWN if getattr(self.run, "own_loop", False) and self.name != OWN else DEFAULTS

    def suits(self, corpus):
        """Say whether the corpus has what the idea needs: the annotators' confidence, or short texts."""
        if self.name.startswith("attention"):
            return corpus.key in ("gop", "airline")
        return corpus.confidence is not None or "confidence" not in self.name


def outcome(model, X, seconds):
    """Return what a fitted model of scikit-learn's kind says."""
    proba, plain = model.predict_proba(X), None
    if hasattr(model, "temperature_"):
        cold = copy(model)
        cold.temperature_ = 1.0
        plain = cold.predict_proba(X)
    return Outcome(proba, plain, getattr(model, "n_iter_", None), seconds)


def fit_head(X, y, seed, sample_weight=None, **params):
    """Return a fitted HeadClassifier, and the seconds that it took."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few rows may have too few of a class to split
        head = HeadClassifier(**params, random_state=seed).fit(X, y, sample_weight)
    return head, time.process_time() - start


def head(layers=LAST_FOUR, pooling="mean", *, normalize=True, prepare=None, weigh=None, **params):
    """Return a case: HeadClassifier with `params` on these vectors, which `prepare` may change first."""

    def run(corpus, learn, score, seed):
        poolings = (pooling,) if isinstance(pooling, str) else pooling
        V = np.hstack([corpus.vectors(layers, one, normalize=normalize) for one in poolings])
        X, X_score = V[corpus.group[learn]], V[corpus.group[score]]
        del V
        if prepare is not None:
            X, X_score = prepare(corpus, learn, score, X, X_score)
        weight = None if weigh is None else weigh(corpus)[learn]
        model, seconds = fit_head(X, corpus.y[learn], seed, weight, **params)
        return outcome(model, X_score, seconds)

    return run


def whitened(n_components):
    """Return a step: principal components, which the head scales to the same spread."""

    def prepare(corpus, learn, score, X, X_score):
        pca = PCA(min(n_components, len(X) - 1), svd_solver="covariance_eigh").fit(X)
        return pca.transform(X), pca.transform(X_score)

    return prepare


def words_beside(n_components):
    """Return a step: TF-IDF, brought down to `n_components` columns, beside the vectors."""

    def prepare(corpus, learn, score, X, X_score):
        words = corpus.words()
        counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(words[learn])
        svd = TruncatedSVD(min(n_components, len(counts.vocabulary_) - 1), random_state=0)
        svd.fit(counts.transform(words[learn]))
        beside = [svd.transform(counts.transform(words[rows])).astype(np.float32) for rows in (learn, score)]
        return np.hstack([X, beside[0]]), np.hstack([X_score, beside[1]])

    return prepare


def words_alone(corpus, learn, score, seed, class_weight=None):
    """TF-IDF of words and pairs of words, and a logistic regression."""
    words, start = corpus.words(), time.process_time()
    linear = LogisticRegression(C=5, max_iter=2000, class_weight=class_weight)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), linear).fit(words[learn], corpus.y[learn])
    return outcome(model, words[score], time.process_time() - start)


def vote(layers=LAST_FOUR, share=SHARE_OF_WORDS, weight_of_words=None, **params):
    """Return a case: the probabilities of the head and of TF-IDF, averaged with weights."""

    def run(corpus, learn, score, seed):
        a = head(layers, **params)(corpus, learn, score, seed)
        b = words_alone(corpus, learn, score, seed, weight_of_words)
        both = [None if p is None else (1 - share) * p + share * b.proba for p in (a.proba, a.plain)]
        return Outcome(*both, a.epochs, a.seconds + b.seconds)

    return run


def linear(C):
    """Return a case: logistic regression on the same vectors, standardised."""

    def run(corpus, learn, score, seed):
        V, start = corpus.vectors(), time.process_time()
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
        model.fit(V[corpus.group[learn]], corpus.y[learn])
        return outcome(model, V[corpus.group[score]], time.process_time() - start)

    return run


def chosen_linear(corpus, learn, score, seed):
    """Logistic regression with the C that has the best accuracy on a validation part of the rows to learn from."""

    def accuracy(C):
        a, b = corpus.inner_split(learn, seed)
        proba = linear(C)(corpus, a, b, seed).proba
        return (np.unique(corpus.y[a])[proba.argmax(1)] == corpus.y[b]).mean()

    return linear(max(C_OF_LINEAR, key=accuracy))(corpus, learn, score, seed)


def own(make_inputs=None, *, prepare=None, common_spread=False, **settings):
    """Return a case that goes through the loop of `_quality_heads`.

    `make_inputs` gets the corpus, the texts to learn from and their weights; None takes the columns of the defaults,
    which `prepare` may change.
    """

    def run(corpus, learn, score, seed):
        def columns(corpus, fit_on, weight):
            V = corpus.vectors()
            if prepare is not None:
                V = prepare(V, fit_on)
            return Columns(V, fit_on, weight, common_spread=common_spread)

        make = make_inputs or columns
        codes = np.unique(corpus.y[learn], return_inverse=True)[1]
        fitted = train(
            lambda fit_on, weight: make(corpus, fit_on, weight),
            *(corpus.group[learn], codes, int(codes.max()) + 1, seed),
            **settings,
        )
        return Outcome(*fitted.predict_proba(corpus.group[score]), fitted.epochs, fitted.seconds)

    run.own_loop = True
    return run


def rotated(n_components):
    """Return a step: standardised, then principal components with the spread that they have."""

    def prepare(V, fit_on):
        Z = StandardScaler().fit(V[fit_on]).transform(V)
        return PCA(min(n_components, len(fit_on) - 1), svd_solver="covariance_eigh").fit(Z[fit_on]).transform(Z)

    return prepare


def mix(layers):
    """Return the inputs: a learned mix of layers, each standardised."""

    def make(corpus, fit_on, weight):
        return Mix(Columns(corpus.vectors(layers), fit_on, weight), len(layers))

    return make


def attention(n_queries, layer=6, *, beside=False):
    """Return the inputs: tokens of a layer pooled by learned queries, the default vectors beside them or not."""

    def make(corpus, fit_on, weight):
        columns = Columns(corpus.vectors(), fit_on, weight) if beside else None
        return Attention(*corpus.states(layer), n_queries, fit_on, weight, columns)

    return make


def ideas():
    """Return all ideas, in the order of the tables."""
    groups = {
        "layers": {
            "last layer": head((6,)),
            "last two": head((5, 6)),
            "last six": head(ALL_LAYERS[1:]),
            "all seven": head(ALL_LAYERS),
            "embedding layer and last four": head(WITH_EMBEDDING),
            "first, middle, last (0, 3, 6)": head((0, 3, 6)),
            "learned mix of the last four": own(mix(LAST_FOUR)),
            "learned mix of all seven": own(mix(ALL_LAYERS)),
        },
        "pooling": {
            "cls": head(pooling="cls"),
            "cls of the last layer": head((6,), "cls"),
            "max": head(pooling="max"),
            "mean and cls": head(pooling=("mean", "cls")),
            "mean and max": head(pooling=("mean", "max")),
            "attention, 1 query, last layer": own(attention(1)),
            "attention, 4 queries, last but one": own(attention(4, 5)),
            "attention, 4 queries, beside the means": own(attention(4, 5, beside=True)),
        },
        "scaling": {
            "vectors as long as they come": head(normalize=False),
            "centred, one common spread": own(common_spread=True),
            "rotated to 256, not whitened": own(prepare=rotated(256), common_spread=True),
            "whitened to 256": head(prepare=whitened(256)),
        },
        "head": {
            "no hidden layer": head(hidden_layer_sizes=()),
            "width 64": head(hidden_layer_sizes=(64,)),
            "width 512": head(hidden_layer_sizes=(512,)),
            "two layers of 256": head(hidden_layer_sizes=(256, 256)),
            "dropout 0.2": head(dropout=0.2),
            "dropout 0.7": head(dropout=0.7),
            "dropout 0.2 of the inputs": own(input_dropout=0.2),
            "n_heads=5": head(n_heads=5),
        },
        "training": {
            "weight decay 0.5": head(weight_decay=0.5),
            "weight decay 2": head(weight_decay=2.0),
            "weight decay 10": head(weight_decay=10.0),
            "learning rate 3e-4": head(learning_rate_init=3e-4),
            "learning rate 2e-3": head(learning_rate_init=2e-3),
            "batches of 64": head(batch_size=64),
            "batches of 1024": head(batch_size=1024),
            "n_iter_no_change=10": head(n_iter_no_change=10),
            OWN: own(),
            "no averaging of weights": own(averaging=0.0),
            "cosine over 10 epochs": own(cosine_epochs=10),
            "label smoothing 0.05": own(label_smoothing=0.05),
        },
        "weights": {
            'class_weight="balanced_sqrt"': head(class_weight="balanced_sqrt"),
            'class_weight="balanced"': head(class_weight="balanced"),
            "weights: confidence": head(weigh=lambda c: c.confidence),
            "weights: confidence squared": head(weigh=lambda c: c.confidence**2),
        },
        "words": {
            "TF-IDF, 300 columns beside": head(prepare=words_beside(300)),
            "vote with TF-IDF, 0.8 and 0.2": vote(share=0.2),
            "vote with TF-IDF, 0.6 and 0.4": vote(),
        },
        "together": {
            "embedding layer, TF-IDF beside": head(WITH_EMBEDDING, prepare=words_beside(300)),
            "embedding layer, vote with TF-IDF": vote(WITH_EMBEDDING),
            "vote with TF-IDF, balanced_sqrt for BERT": vote(class_weight="balanced_sqrt"),
            "vote with TF-IDF, balanced_sqrt and balanced": vote(
                class_weight="balanced_sqrt", weight_of_words="balanced"
            ),
        },
    }
    return [Idea(group, name, run) for group, cases in groups.items() for name, run in cases.items()]


def references():
    """Return the models to compare with in the study."""
    found = [Idea("references", f"LogisticRegression(C={C:g})", linear(C)) for C in C_OF_LINEAR]
    return [*found, Idea("references", "TF-IDF + LogisticRegression(C=5)", words_alone)]


# What docs/guide/quality.md documents; --test knows these, the defaults and the references only.
OPTIONS = (
    "embedding layer and last four",
    "vectors as long as they come",
    "TF-IDF, 300 columns beside",
    "vote with TF-IDF, 0.6 and 0.4",
    "vote with TF-IDF, balanced_sqrt for BERT",
    "n_heads=5",
    'class_weight="balanced_sqrt"',
    "weights: confidence",
)


def test_cases():
    """Return what is scored on the test parts."""
    linear_chosen = Idea("references", "LogisticRegression, C chosen", chosen_linear)
    words = Idea("references", "TF-IDF + LogisticRegression(C=5)", words_alone)
    return [*(idea for idea in ideas() if idea.name in OPTIONS), linear_chosen, words]
