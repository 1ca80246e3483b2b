"""A grid over every constructor parameter shows that each takes effect, in a search as in the constructor.

A peer's search over two models encoded nine times with the first. Here, for
each parameter of each estimator, GridSearchCV runs over values of it; what
each candidate does is observed on the fitted clones, has to differ between
any two values, and has to be what one estimator does that is given all values
in turn and fitted after each: whatever it was before, it is what it is told.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections import defaultdict

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    HeadClassifier,
    MemoryStore,
    TextCleaner,
    cache_info,
    clear_cache,
)
from skbert._engine import encode
from skbert._engine.encoder import Encoder
from skbert._head import weights
from skbert.exceptions import MissingTextError, TextInputError, TruncationWarning
from tests._models import build_tiny_model
from tests.test_classifier import sentences
from tests.test_cleaner import CHOICES

TEXTS, LABELS = sentences(48)
LABELS = np.where(["night" in text for text in TEXTS], "neutral", LABELS)
FOLDS = [(np.arange(0, 48, 2), np.arange(1, 48, 2)), (np.arange(1, 48, 2), np.arange(0, 48, 2))]
LONG = "what a night, what a debate " * 20

# What the tests below search over, by class. Only `shows` writes here, so that a test or a grid takes its names along
# when it goes.
SHOWN: dict[type, set[str]] = defaultdict(set)


def shows(names, *classes):
    """Run a test for each name of a parameter, and for each class if there are several (fixture `estimator`)."""
    for each in classes:
        SHOWN[each].update(names)

    def mark(test):
        test = pytest.mark.parametrize("name", names)(test)
        return pytest.mark.parametrize("estimator", classes, indirect=True)(test) if len(classes) > 1 else test

    return mark


def digest(result):
    """Return what stands for a result: values to four decimals, shape and dtype for arrays, else its repr."""
    if isinstance(result, np.ndarray) and result.dtype.kind == "f":
        rounded = np.round(result.astype(np.float64), 4) + 0.0
        return f"{result.shape} {hashlib.sha256(rounded.tobytes()).hexdigest()}"
    return repr(result)


def check_grid(estimator, name, values, observe, texts=TEXTS, y=None, *, in_turn=True):
    """Search over the values of one parameter, and hold what each fold's clone does against an estimator of that value.

    It is one and the same for all values and folds, unless `in_turn` is false. Returns what was seen, by value.
    """
    assert "__" in name or name in SHOWN[type(estimator)], f"`shows` does not say that this test is about {name}"
    seen = {}

    def spy(fitted, X, labels=None):
        value = fitted.get_params()[name]
        # By position, for values may be arrays or stores; a clone of a plain object is a copy of it.
        place = next(k for k, one in enumerate(values) if one is value or repr(one) == repr(value))
        seen.setdefault(place, []).append(observe(fitted))
        return 0.0

    GridSearchCV(estimator, {name: values}, scoring=spy, cv=FOLDS, refit=False, error_score="raise").fit(texts, y)
    assert sorted(seen) == list(range(len(values)))
    used = clone(estimator)
    for place, value in enumerate(values):
        own = []
        for train, _ in FOLDS:
            part = [texts[k] for k in train]
            alone = (used if in_turn else clone(estimator)).set_params(**{name: value})
            own.append(observe(alone.fit(part) if y is None else alone.fit(part, y[train])))
        assert seen[place] == own, f"{name}={value!r} does something else in a search"
    for one in range(len(values)):
        for other in range(one):
            assert seen[one] != seen[other], f"{name}={values[one]!r} does what {values[other]!r} does"
    return [seen[place] for place in range(len(values))]


# -- TextCleaner ---------------------------------------------------------------------------------------------------

TWEET = (
    "RT @ann: Sooooo  good &amp; TRUE!!! #GOPDebate2016 😂 http://t.co/ToP8nT @bob said 1,000 times donâ€™t the end …"
)
OF_CLEANER = {**CHOICES, "repeated_chars": [3, 1, None], "stop_words": [None, "english", ["good", "end"]]}


@shows(OF_CLEANER, TextCleaner)
def test_each_parameter_of_the_cleaner(name):
    """Each value cleans one busy tweet in its own way."""
    check_grid(TextCleaner(), name, OF_CLEANER[name], lambda fitted: fitted.transform([TWEET]))


# -- BertEmbedder --------------------------------------------------------------------------------------------------

VECTORS = {
    "layers": [-1, 0, (-1, 0), (0, -1)],
    "pooling": ["mean", "cls", "max", "pooler"],
    "normalize": [False, True],
    "max_length": [None, 5, 9],
    "long_texts": ["truncate", "head_tail", "chunk"],
    "prompt": [None, "query: ", "passage: "],
    "dtype": ["float32", "bfloat16"],
}


@pytest.fixture
def embedder(tiny_bert_folder):
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=None, long_texts="truncate")


@shows(VECTORS, BertEmbedder)
def test_each_parameter_of_a_vector(embedder, name):
    """Each value makes other vectors; at the next use already, with a fit before it or without any."""

    def observe(fitted):
        return digest(fitted.transform([*TEXTS[:3], LONG]))

    seen = check_grid(embedder, name, VECTORS[name], observe)
    for used in (clone(embedder), clone(embedder).fit(TEXTS)):
        assert [[observe(used.set_params(**{name: value}))] * 2 for value in VECTORS[name]] == seen


@shows(["model"], BertEmbedder)
def test_the_model_of_the_embedder(embedder, name, tmp_path):
    """The very defect: other weights, as a str and as a path."""
    others = [build_tiny_model(tmp_path / str(seed), "bert", seed=seed) for seed in (1, 2)]
    check_grid(
        embedder, name, [embedder.model, str(others[0]), others[1]], lambda fitted: digest(fitted.transform(TEXTS))
    )


@shows(["revision"], BertEmbedder)
def test_the_revision_of_the_embedder(embedder, name, tmp_path, monkeypatch):
    """Another revision of one name is another model."""
    folders = {None: embedder.model}
    for seed, revision in enumerate(("v1", "v2"), start=1):
        folders[revision] = str(build_tiny_model(tmp_path / revision, "bert", seed=seed))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda model, revision=None, **rest: folders[revision])
    embedder.set_params(model="somebody/some-bert")
    check_grid(embedder, name, list(folders), lambda fitted: digest(fitted.transform(TEXTS)))


def outcome_of(what, *args):
    try:
        return digest(what(*args))
    except (MissingTextError, TextInputError) as error:
        return type(error).__name__


@shows(["missing"], BertEmbedder)
def test_what_becomes_of_missing_texts(embedder, name):
    """An error, or the vector of the empty text."""
    check_grid(embedder, name, ["error", "empty"], lambda fitted: outcome_of(fitted.transform, ["a", None]))


@pytest.mark.filterwarnings("always::skbert.exceptions.TruncationWarning")
@shows(["long_texts"], BertEmbedder)
def test_what_is_said_of_long_texts(embedder, name):
    """A warning, silence, or an error."""

    def observe(fitted):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TruncationWarning)
            found = outcome_of(fitted.transform, [LONG])
        return found, len(caught)

    check_grid(embedder, name, ["warn", "truncate", "error"], observe)


CUTS = {"batch_tokens": ["auto", 64, 16], "device": ["cpu", ["cpu", "cpu"]]}


@shows(CUTS, BertEmbedder)
def test_how_the_work_is_cut(embedder, monkeypatch, name):
    """The number of forward passes follows the tokens a pass, and the number of encoders the devices."""
    runs, got = [], []
    start, get = Encoder.start, encode.get_encoder

    def counted(self, batch, units, **options):
        runs.append(len(batch))
        return start(self, batch, units, **options)

    monkeypatch.setattr(Encoder, "start", counted)
    monkeypatch.setattr(encode, "get_encoder", lambda *args: got.append(args[1:]) or get(*args))

    def observe(fitted):
        runs.clear()
        got.clear()
        fitted.transform(TEXTS)
        return len(runs) if name == "batch_tokens" else len(got)

    check_grid(embedder, name, CUTS[name], observe)


@shows(["cache"], BertEmbedder)
def test_where_vectors_are_kept(embedder, name, tmp_path):
    """Nowhere, in a store of the user's, in a folder: told by where the vectors are afterwards."""
    store, folder = MemoryStore(), str(tmp_path / "vectors")

    def observe(fitted):
        store.clear()
        clear_cache(folder)
        fitted.transform(TEXTS)
        return store.info().vectors > 0, cache_info(folder).vectors > 0

    check_grid(embedder, name, [None, store, folder], observe)


@shows(["store_layers"], BertEmbedder)
def test_which_layers_are_kept_besides(embedder, name):
    """More layers, more vectors in the store."""
    store = MemoryStore()

    def observe(fitted):
        store.clear()
        fitted.transform(TEXTS)
        return store.info().vectors

    check_grid(embedder.set_params(cache=store), name, [None, (0, 1), "all"], observe)


@shows(["verbose"], BertEmbedder)
def test_what_the_embedder_says(embedder, name, capsys):
    """A line for each call, or none."""

    def observe(fitted):
        capsys.readouterr()
        fitted.transform(TEXTS)
        return capsys.readouterr().out

    check_grid(embedder, name, [0, 1], observe)


# -- the classifier of texts and its head --------------------------------------------------------------------------

OF_HEAD = {
    "hidden_layer_sizes": [(16,), (), (8, 8), 4],
    "dropout": [0.0, 0.5],
    "weight_decay": [0.0, 50.0],
    "batch_size": [8, 16],
    "learning_rate_init": [1e-2, 1e-3],
    "max_iter": [12, 3],
    "early_stopping": [True, False],
    "validation_fraction": [0.2, 0.4],
    "class_weight": [None, "balanced", {"neutral": 5.0}],
    "n_heads": [1, 3],
    "random_state": [0, 1],
}
QUICK = {
    **{name: values[0] for name, values in OF_HEAD.items()},
    **{"n_iter_no_change": 12, "device": "cpu"},
}
NETWORKS = (BertSentimentClassifier, HeadClassifier)


@pytest.fixture
def estimator(request, embedder):
    """Return a classifier of texts, or a head and its vectors."""
    if request.param is BertSentimentClassifier:
        embedder.set_params(cache=MemoryStore())
        return BertSentimentClassifier(embedder, **QUICK), TEXTS
    return HeadClassifier(**QUICK), list(embedder.transform(TEXTS))


@shows(OF_HEAD, *NETWORKS)
def test_each_parameter_of_the_network(estimator, name):
    """Each value trains another network."""
    model, X = estimator
    check_grid(model, name, OF_HEAD[name], lambda fitted: digest(fitted.predict_proba(X)), X, LABELS)


PATIENCE = {"n_iter_no_change": [2, 40], "tol": [0.3, 1e-4]}


@shows(PATIENCE, *NETWORKS)
def test_how_long_the_training_goes_on(estimator, name):
    """More patience and a smaller tol, more epochs."""
    model, X = estimator
    model.set_params(max_iter=60, n_iter_no_change=5)
    few, many = check_grid(model, name, PATIENCE[name], lambda fitted: fitted.n_iter_, X, LABELS)
    assert all(less < more for less, more in zip(few, many, strict=True))


@shows(["warm_start"], *NETWORKS)
def test_whether_a_second_fit_goes_on(estimator, name):
    """A warm start reaches another network than a fresh one."""
    model, X = estimator
    check_grid(
        model,
        name,
        [False, True],
        lambda fitted: digest(fitted.fit(X, LABELS).predict_proba(X)),
        X,
        LABELS,
        in_turn=False,  # a fit that goes on does depend on what was before
    )


@shows(["device"], *NETWORKS)
def test_where_the_head_is_trained(estimator, name, monkeypatch):
    """The device that training is asked to use is the one of the parameter; "auto" is the CPU here."""
    asked = []
    make_part = weights.make_part
    monkeypatch.setattr(
        weights, "make_part", lambda *args: asked.append(args[-1]) or make_part(*args[:-1], torch.device("cpu"))
    )
    monkeypatch.setattr(weights, "new_network", _on_cpu(weights.new_network))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    model, X = estimator

    def observe(fitted):
        asked.clear()
        clone(fitted).fit(X, LABELS)
        return str(asked[0])

    check_grid(model, name, ["cpu", "cuda:0", "cuda:1"], observe, X, LABELS)


def _on_cpu(make):
    return lambda sizes, n_heads, seed, device: make(sizes, n_heads, seed, torch.device("cpu"))


@shows(["verbose"], *NETWORKS)
def test_what_the_classifier_says(estimator, name, capsys):
    """A bar on stderr, or none."""
    model, X = estimator

    def observe(fitted):
        capsys.readouterr()
        clone(fitted).fit(X, LABELS)
        return "epoch" in capsys.readouterr().err

    check_grid(model, name, [0, 1], observe, X, LABELS)


@pytest.mark.parametrize("name", ["pooling", "layers", "prompt", "dtype"])
def test_parameters_of_the_embedder_through_the_classifier(embedder, name):
    """`embedder__pooling` and the like train another classifier."""
    model = BertSentimentClassifier(embedder.set_params(cache=MemoryStore()), **QUICK)
    check_grid(
        model, f"embedder__{name}", VECTORS[name], lambda fitted: digest(fitted.predict_proba(TEXTS)), TEXTS, LABELS
    )


@shows(["embedder"], BertSentimentClassifier)
def test_the_embedder_of_the_classifier(embedder, name):
    """Whole embedders in a grid."""
    embedders = [embedder, clone(embedder).set_params(pooling="cls"), clone(embedder).set_params(layers=0)]
    check_grid(
        BertSentimentClassifier(embedder, **QUICK),
        name,
        embedders,
        lambda fitted: digest(fitted.predict_proba(TEXTS)),
        TEXTS,
        LABELS,
    )


# -- none is left out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [TextCleaner, BertEmbedder, HeadClassifier, BertSentimentClassifier])
def test_no_parameter_is_left_out(cls):
    """A new parameter needs a grid here."""
    assert SHOWN[cls] == set(inspect.signature(cls).parameters)
