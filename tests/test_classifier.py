"""BertSentimentClassifier: an embedder and a head as one scikit-learn classifier of texts."""

from __future__ import annotations

import inspect
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, MemoryStore, TextCleaner
from skbert.exceptions import InvalidParameterError, SkbertWarning, TextInputError
from tests._models import WORDS

GOOD = ["great", "good", "happy", "love", "best", "win", "honest", "strong", "fun", "nice"]
BAD = ["bad", "awful", "sad", "hate", "lost", "lie", "terrible", "boring", "wrong", "angry"]


def sentences(n, seed=0):
    """Return n different sentences and their labels, which hang on one word of each."""
    who, what = (
        ["he", "she", "we", "they", "you", "i", "one", "nobody"],
        ["night", "debate", "answer", "speech", "plan"],
    )
    whole = [
        (f"{a} had a {word} {b}", label)
        for label, words in (("negative", BAD), ("positive", GOOD))
        for a in who
        for b in what
        for word in words
    ]
    chosen = np.random.default_rng(seed).choice(len(whole), n, replace=False)
    return [whole[k][0] for k in chosen], np.array([whole[k][1] for k in chosen])


X, Y = sentences(160)
# A small head that learns the tiny random model's vectors in a second.
HEAD = {
    "hidden_layer_sizes": (32,),
    "dropout": 0.0,
    "batch_size": 16,
    "learning_rate_init": 3e-3,
    "max_iter": 40,
    "n_iter_no_change": 20,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture
def embedder(tiny_bert_folder):
    return BertEmbedder(tiny_bert_folder, device="cpu", layers=(0, -1), cache=MemoryStore())


@pytest.fixture
def classifier(embedder):
    return BertSentimentClassifier(embedder, **HEAD)


def test_it_is_an_embedder_and_a_head_and_nothing_else(classifier, embedder):
    """Predictions are those of a HeadClassifier on the embedder's vectors, to the bit."""
    classifier.fit(X, Y)
    vectors = embedder.transform(X)
    head = HeadClassifier(**HEAD).fit(vectors, Y)
    assert np.array_equal(classifier.predict(X), head.predict(vectors))
    assert np.array_equal(classifier.predict_proba(X), head.predict_proba(vectors))
    assert np.array_equal(classifier.decision_function(X), head.decision_function(vectors))
    assert classifier.score(X, Y) == accuracy_score(Y, head.predict(vectors)) > 0.9
    assert classifier.classes_.tolist() == ["negative", "positive"]
    assert classifier.loss_curve_ == head.loss_curve_
    assert classifier.validation_loss_curve_ == head.validation_loss_curve_
    assert classifier.validation_scores_ == head.validation_scores_
    assert classifier.best_validation_score_ == head.best_validation_score_
    assert classifier.n_iter_ == head.n_iter_


def test_the_frozen_model_runs_once_a_text_and_not_once_an_epoch(classifier):
    """A fit of many epochs, a predict and a score embed each text once."""
    classifier.fit(X, Y).predict(X)
    classifier.score(X, Y)
    assert classifier.n_iter_ > 1
    assert classifier.embedder.cache.info().misses == len(X)


def test_the_default_embedder_is_bert_base_with_its_last_four_layers():
    """embedder=None stands for the tutorial's model, its last four layers side by side."""
    source = BertSentimentClassifier()._source()
    assert source.get_params() == BertEmbedder(layers=(-4, -3, -2, -1)).get_params()


def test_the_heads_parameters_are_the_same_in_both_classes():
    """Names, order and defaults of the head are written down in two constructors and agree."""
    head = inspect.signature(HeadClassifier).parameters
    both = dict(inspect.signature(BertSentimentClassifier).parameters)
    assert both.pop("embedder").default is None
    assert {name: p.default for name, p in both.items()} == {name: p.default for name, p in head.items()}
    assert list(both) == list(head)
    assert list(BertSentimentClassifier._parameter_rules) == ["embedder", *head]


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"embedder": "bert"}, r"The 'embedder' parameter of BertSentimentClassifier must be None or a BertEmbedder"),
        ({"dropout": 1.0}, r"The 'dropout' parameter of BertSentimentClassifier must be .* Got 1.0 instead"),
        ({"embedder__pooling": "no"}, r"The 'pooling' parameter of BertEmbedder must be .* Got 'no' instead"),
        ({"device": "gpu"}, r"The 'device' parameter of BertSentimentClassifier must be .* Got 'gpu' instead"),
        ({"device": "cuda:99"}, r"The 'device' parameter of BertSentimentClassifier must be .* Got 'cuda:99' instead"),
        (
            {"class_weight": "even"},
            r"The 'class_weight' parameter of BertSentimentClassifier must .* Got 'even' instead",
        ),
        (
            {"class_weight": {"bad": 2}},
            r"The 'class_weight' parameter of BertSentimentClassifier must .* Got {'bad': 2}",
        ),
        ({"class_weight": {"negative": -1}}, r"parameter of BertSentimentClassifier must be .* Got {'negative': -1}"),
        ({"class_weight": dict.fromkeys(Y, 0)}, r"parameter of BertSentimentClassifier must be .* Got {.*: 0} instead"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named_before_anything_is_embedded(classifier, embedder, params, match):
    """Each as a parameter of the class that the user gave it to; no text goes through the model first."""
    classifier.set_params(**params)
    with pytest.raises(InvalidParameterError, match=match):
        classifier.fit(X, Y)
    with pytest.raises(InvalidParameterError, match=match):
        classifier.partial_fit(X, Y, classes=["negative", "positive"])
    assert embedder.cache.info().misses == 0


def test_what_only_the_head_would_notice_is_said_by_the_classifier(classifier, embedder):
    """The user holds no HeadClassifier, so no message names one, and no text is embedded in vain."""
    with pytest.raises(
        ValueError, match=r"^BertSentimentClassifier needs .* only one class: 'positive' \(rows of weight"
    ):
        classifier.fit(X, Y, sample_weight=Y == "positive")
    with pytest.raises(ValueError, match=r"partial_fit of BertSentimentClassifier must be .* Got \['a'\] instead"):
        classifier.partial_fit(X, Y, classes=["a"])
    with pytest.raises(ValueError, match=r"y holds labels \['negative', 'positive'\] that are not among the classes"):
        classifier.partial_fit(X, Y, classes=["a", "b"])
    with pytest.raises(
        InvalidParameterError, match=r"parameter of BertSentimentClassifier must .* Got 'balanced' instead"
    ):
        classifier.set_params(class_weight="balanced").partial_fit(X, Y, classes=["negative", "positive"])
    assert embedder.cache.info().misses == 0


@pytest.mark.parametrize("wrong", [None, "all-MiniLM-L6-v2"])
def test_parameters_of_an_embedder_that_is_not_there(wrong, embedder):
    """They cannot be set; the error says how to have an embedder, and nothing is set half."""
    classifier = BertSentimentClassifier(wrong)
    must = (
        "The 'embedder' parameter of BertSentimentClassifier must be a BertEmbedder for 'embedder__pooling' to be set"
    )
    with pytest.raises(InvalidParameterError, match=rf"{must}\. Got {wrong!r} instead\. .*\(BertEmbedder\("):
        classifier.set_params(dropout=0.1, embedder__pooling="cls")
    assert classifier.dropout == 0.5
    with pytest.raises(InvalidParameterError, match=must):
        GridSearchCV(classifier, {"embedder__pooling": ["cls"]}, error_score=0).fit(X, Y)
    # With an embedder in the same call there is one.
    assert classifier.set_params(embedder__pooling="max", embedder=embedder).embedder.pooling == "max"


def test_a_wrong_embedder_is_told_in_a_search_too():
    """scikit-learn's tools ask for tags before they fit; that must not end in another error."""
    with pytest.raises(InvalidParameterError, match=r"must be None or a BertEmbedder\. Got 'bert' instead"):
        cross_val_score(BertSentimentClassifier("bert"), X, Y, error_score="raise")


@pytest.mark.parametrize(
    ("texts", "labels", "match"),
    [
        (X, Y[:-1], r"inconsistent numbers of samples: \[160, 159\]"),
        (
            X,
            ["positive"] * len(X),
            r"^BertSentimentClassifier needs .* 2 classes, but y holds only one class: 'positive'",
        ),
        (X, None, "requires y to be passed, but the target y is None"),
        (X, np.linspace(0, 1, len(X)), "Unknown label type: continuous"),
        ([*X[:-1], None], Y, r"X has 1 missing text\(s\).*row 159"),
        ("one text", ["positive"], "string object received"),
        ([], [], r"0 sample\(s\)"),
    ],
    ids=["length", "one class", "no y", "continuous", "missing", "str", "empty"],
)
def test_wrong_data_is_refused_before_a_model_is_asked_for(texts, labels, match):
    """The model does not even exist."""
    with pytest.raises(ValueError, match=match):
        BertSentimentClassifier(BertEmbedder("./no/such/folder")).fit(texts, labels)


def test_use_before_fit_is_not_fitted(classifier):
    """In scikit-learn's own error."""
    for method in (classifier.predict, classifier.predict_proba, classifier.decision_function):
        with pytest.raises(NotFittedError):
            method(X)


@pytest.mark.parametrize("labels", [[0, 1], [True, False], ["no", "yes"], [3, -7]], ids=str)
def test_labels_of_any_kind_come_back_as_they_were(classifier, labels):
    """Predictions have the dtype of classes_, sorted as numpy sorts."""
    y = np.array(labels)[(np.asarray(Y) == "positive").astype(int)]
    predicted = classifier.fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert np.array_equal(classifier.classes_, np.unique(y))
    assert (predicted == y).mean() > 0.9


def test_three_classes_and_their_probabilities(classifier):
    """Rows sum to 1 in float64, in the order of classes_, and agree with predict."""
    texts = [*X, *(f"who asked {word} the question" for word in WORDS[:60])]
    y = [*Y, *["neutral"] * 60]
    proba = classifier.fit(texts, y).predict_proba(texts)
    assert proba.shape == (220, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(classifier.classes_[proba.argmax(axis=1)], classifier.predict(texts))


def test_a_refit_forgets_the_earlier_fit(classifier):
    """Other data, other classes, other vectors: as if it were the first fit."""
    other = (["no"] * 3 + X[:40], ["c"] * 3 + ["a", "b"] * 20)
    classifier.fit(pd.DataFrame({"tweet": X}), Y)
    assert classifier.n_features_in_ == 1
    params = {"embedder__layers": 1, "early_stopping": False}
    again = classifier.set_params(**params).fit(*other)
    fresh = clone(classifier).fit(*other)
    assert not hasattr(again, "n_features_in_")
    assert vars(again).keys() == vars(fresh).keys()
    assert np.array_equal(again.predict_proba(X), fresh.predict_proba(X))


def test_a_fit_that_fails_changes_nothing(classifier):
    """A wrong call leaves the fitted classifier as it was."""
    before = classifier.fit(X, Y).predict_proba(X)
    with pytest.raises(TextInputError):
        classifier.fit([1, 2], ["a", "b"])
    assert np.array_equal(classifier.predict_proba(X), before)


# -- "After fit" ---------------------------------------------------------------------------------------------------


def test_what_identifies_a_vector_stays_as_it_was_at_the_fit(classifier):
    """set_params on the embedder takes effect at the next fit, not in the middle of a fitted model's life."""
    before = classifier.fit(X, Y).predict_proba(X)
    classifier.set_params(embedder__pooling="max", embedder__layers=-1, embedder__max_length=8)
    assert np.array_equal(classifier.predict_proba(X), before)
    after = classifier.fit(X, Y).predict_proba(X)
    assert classifier.embedder_.pooling == "max"
    assert np.abs(after - before).max() > 1e-4


def test_where_the_weights_and_the_work_are_is_read_at_use(classifier, tmp_path):
    """model, device, batch_tokens, cache and verbose are those of `embedder` now."""
    before = classifier.fit(X, Y).predict_proba(X)
    copy = shutil.copytree(classifier.embedder.model, tmp_path / "copy")
    store = MemoryStore()
    params = {"model": copy, "cache": store, "batch_tokens": 40, "device": ["cpu", "cpu"]}
    classifier.set_params(**{f"embedder__{name}": value for name, value in params.items()})
    np.testing.assert_allclose(classifier.predict_proba(X), before, atol=1e-5)
    assert store.info().misses == len(X)


def test_the_users_embedder_is_never_changed(classifier, embedder):
    """It is cloned; the fit leaves no trace on it."""
    classifier.fit(X, Y)
    assert classifier.embedder is embedder
    assert not hasattr(embedder, "fingerprint_")
    assert classifier.embedder_ is not embedder


# -- Ctrl-C ------------------------------------------------------------------------------------------------------


def test_an_interrupted_training_keeps_what_it_has(classifier, monkeypatch):
    """Ctrl-C while the head is trained is a warning, as `fit` says, and the classifier can be used."""

    def interrupt(bar, history):
        raise KeyboardInterrupt

    monkeypatch.setattr("skbert._head.fitting._show", interrupt)
    with pytest.warns(SkbertWarning, match="interrupted by the user in epoch 2. The weights of epoch 1 are kept"):
        classifier.fit(X, Y)
    assert classifier.n_iter_ == classifier.best_iter_ == 1
    assert classifier.predict(X).shape == (160,)


# -- weights, warm starts, parts -----------------------------------------------------------------------------------


def test_sample_weight_reaches_the_head(classifier):
    """Texts of weight 0 do not count."""
    wrong = [*X, *X]
    y = [*Y, *(["negative" if label == "positive" else "positive" for label in Y])]
    weight = [1.0] * len(X) + [0.0] * len(X)
    classifier.fit(wrong, y, sample_weight=weight)
    assert (classifier.predict(X) == Y).mean() > 0.9
    with pytest.raises(ValueError, match="sample_weight"):
        classifier.fit(X, Y, sample_weight=[1.0])


def test_partial_fit_trains_over_parts(classifier):
    """Parts of the data, one after another; classes are named at the first."""
    for _ in range(25):
        for start in range(0, 160, 40):
            part = slice(start, start + 40)
            classifier.partial_fit(X[part], Y[part], classes=["negative", "positive"])
    assert classifier.score(X, Y) > 0.9
    with pytest.raises(ValueError, match="classes"):
        clone(classifier).partial_fit(X, Y)


def test_warm_start_goes_on_and_refuses_other_vectors(classifier):
    """A second fit starts from the first one's weights; other vectors would not fit them."""
    classifier.set_params(warm_start=True, max_iter=3, early_stopping=False).fit(X, Y)
    first = classifier.loss_curve_[0]
    classifier.fit(X, Y)
    assert classifier.loss_curve_[-1] < first
    with pytest.raises(ValueError, match=r"warm_start=True goes on .*\['pooling'\] changed"):
        classifier.set_params(embedder__pooling="cls").fit(X, Y)


# -- in scikit-learn's tools ---------------------------------------------------------------------------------------


def test_a_grid_over_embedder_and_head_in_a_pipeline(classifier):
    """Keys reach through the pipeline; each text is embedded once a pooling, whatever the folds."""
    pipe = make_pipeline(TextCleaner(), classifier)
    grid = {
        "bertsentimentclassifier__embedder__pooling": ["mean", "cls"],
        "bertsentimentclassifier__hidden_layer_sizes": [(), (16,)],
    }
    search = GridSearchCV(pipe, grid, cv=3).fit(X, Y)
    assert search.best_score_ > 0.8
    assert classifier.embedder.cache.info().misses == len(set(TextCleaner().transform(X))) * 2
    assert (cross_val_predict(pipe, X, Y, cv=3) == Y).mean() > 0.8


def test_pairs_are_classified_as_pairs(classifier):
    """Two columns go through as segments A and B."""
    pairs = pd.DataFrame({"question": ["how was it"] * len(X), "answer": X})
    classifier.fit(pairs, Y)
    assert classifier.score(pairs, Y) > 0.9
    assert classifier.feature_names_in_.tolist() == ["question", "answer"]
    with pytest.raises(TextInputError, match="feature names should match"):
        classifier.predict(pairs[["answer", "question"]])


def pairs_of(texts):
    """Return the texts as answers to one question."""
    return [("how was it", text) for text in texts]


@pytest.mark.parametrize(
    ("fitted", "other", "message"),
    [
        (X, pairs_of(X), "was fitted on single texts, but X holds pairs of texts. Pass single texts, or fit again"),
        (pairs_of(X), X, "was fitted on pairs of texts, but X holds single texts. Pass pairs of texts, or fit again"),
    ],
    ids=["single", "pairs"],
)
def test_pairs_and_single_texts_are_not_taken_for_each_other(classifier, fitted, other, message):
    """What the fit had, every later call must have, also after a pickle; a refit forgets it."""
    expected = classifier.fit(fitted, Y).predict_proba(fitted)
    again = pickle.loads(pickle.dumps(classifier))
    for call in (classifier.predict, classifier.predict_proba, classifier.decision_function, again.predict):
        with pytest.raises(TextInputError, match=f"This BertSentimentClassifier {message}"):
            call(other)
    for call in (
        classifier.partial_fit,
        classifier.score,
        clone(classifier).partial_fit(fitted, Y, classes=Y).partial_fit,
    ):
        with pytest.raises(TextInputError, match=message):
            call(other, Y)
    with pytest.raises(TextInputError, match=message):
        classifier.set_params(warm_start=True).fit(other, Y)
    assert np.array_equal(classifier.predict_proba(fitted), expected)
    assert classifier.set_params(warm_start=False).fit(other, Y).predict(other).shape == (160,)
    assert clone(again).fit(other, Y).predict(other).shape == (160,)


def test_rows_that_are_all_missing_are_of_either_kind(classifier):
    """A missing pair has the vector of the empty text, alone as among other pairs."""
    classifier.set_params(embedder__missing="empty").fit(pairs_of(X), Y)
    among = classifier.predict_proba([None, *pairs_of(X[:3])])
    np.testing.assert_allclose(classifier.predict_proba([None]), among[:1], atol=1e-5)


def test_the_same_seed_gives_the_same_classifier(classifier):
    """random_state decides; global generators are neither read nor moved."""
    first = clone(classifier).fit(X, Y).predict_proba(X)
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(clone(classifier).fit(X, Y).predict_proba(X), first)
    other = clone(classifier).set_params(random_state=1).fit(X, Y).predict_proba(X)
    assert not np.array_equal(other, first)


def test_training_touches_nothing_global(classifier, global_state):
    """Law 7 for the whole classifier."""
    classifier.embedder.transform(X[:1])
    global_state = type(global_state)()
    classifier.fit(X, Y).predict(X)
    global_state.assert_unchanged()


# -- what is told before a text is embedded -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_changed_network_is_refused_before_anything_is_embedded(classifier, method):
    """Going on needs weights of the same shape."""
    classifier.set_params(warm_start=True).fit(X, Y)
    store = MemoryStore()
    classifier.set_params(n_heads=2, embedder__cache=store)
    with pytest.raises(ValueError, match="hidden_layer_sizes or n_heads has changed"):
        getattr(classifier, method)(X, Y)
    assert store.info().misses == 0


def test_partial_fit_refuses_other_vectors(classifier):
    """As a warm start does; what it would go on with belongs to the vectors of before."""
    classifier.partial_fit(X, Y, classes=["negative", "positive"])
    with pytest.raises(ValueError, match=r"partial_fit goes on .* the embedder's \['layers'\] changed"):
        classifier.set_params(embedder__layers=-1, embedder__verbose=0, embedder__cache=None).partial_fit(X, Y)


@pytest.mark.parametrize("y", [np.zeros(160, dtype=int), Y[:-1], Y.reshape(80, 2)], ids=["kind", "length", "2-D"])
def test_score_refuses_labels_before_anything_is_embedded(classifier, y):
    """Labels of another kind cannot be right, where scikit-learn's accuracy says so too."""
    classifier.fit(X, Y)
    if y.dtype.kind == "i":
        try:
            accuracy_score([0, 1], ["a", "b"])
        except ValueError:
            pass
        else:
            pytest.skip("this scikit-learn compares labels of all kinds")
    store = MemoryStore()
    with pytest.raises(ValueError, match=r"."):
        classifier.set_params(embedder__cache=store).score(X, y)
    assert store.info().misses == 0


class Sentiment(BertSentimentClassifier):
    """A user's classifier, whose name says less of what it is."""


def test_advice_does_not_hang_on_the_name_of_a_class(embedder):
    """The parameter that is to be set, and what can stand in a ColumnTransformer, are the embedder's."""
    model = Sentiment(embedder, **HEAD)
    with pytest.raises(TextInputError, match="or set embedder__missing='empty'"):
        model.fit(["a", None], [0, 1])
    wide = pd.DataFrame({"text": ["a", "b"], "n": [1, 2], "m": [3, 4]})
    with pytest.raises(TextInputError, match=r"^Sentiment takes .*\(\(BertEmbedder\(\), \['text'\]\)"):
        model.fit(wide, [0, 1])


class Smaller(BertEmbedder):
    """A user's embedder with fewer parameters."""

    def __init__(self, model="bert", *, pooling="mean", cache=None, verbose=0):
        super().__init__(model, pooling=pooling, device="cpu", cache=cache, verbose=verbose)


def test_an_embedder_of_the_users_with_fewer_parameters(classifier):
    """What it does not have it does not have to have."""
    smaller = BertSentimentClassifier(Smaller(classifier.embedder.model), **HEAD).fit(X, Y)
    classifier.set_params(embedder__layers=-1, embedder__pooling="mean", embedder__cache=None).fit(X, Y)
    assert np.array_equal(smaller.predict_proba(X), classifier.predict_proba(X))
