"""Metadata routing: weights and groups reach the classifier of texts, and change what they should.

That a weight arrived is proven by numbers: scores and predictions are those
of a weighted fit on the vectors, made by hand, and not those of a plain one.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline

from skbert import BertEmbedder, HeadClassifier, MemoryStore, TextCleaner
from tests import _compose
from tests._compose import HEAD, SKLEARN, every_form, make_texts

X, Y, GROUPS = make_texts()
FORMS = every_form(X)
classifier, vectors = _compose.classifier, _compose.vectors
WEIGHT = np.random.default_rng(2).choice([0.0, 1.0, 5.0], len(X))
SPLITS = list(GroupKFold(3).split(X, Y, GROUPS))


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def embedder(tiny_bert_folder):
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", layers=(0, -1), cache=MemoryStore())
    embedder.transform(X)
    return embedder


def by_hand(vectors, fit_weight, score_weight, **head):
    """Return the accuracies of three folds, of fits and scores with these weights or without."""
    scores = []
    for train, test in SPLITS:
        fitted = HeadClassifier(**HEAD | head).fit(
            vectors[train], Y[train], sample_weight=None if fit_weight is None else fit_weight[train]
        )
        weight = None if score_weight is None else score_weight[test]
        scores.append(fitted.score(vectors[test], Y[test], sample_weight=weight))
    return scores


@pytest.mark.parametrize(("to_fit", "to_score"), [(True, True), (True, False), (False, True)])
def test_weights_and_groups_through_a_pipeline_in_a_search(classifier, vectors, to_fit, to_score):
    """Of fit and score each gets the weights if it asked for them, in every fold of every candidate and the refit."""
    asks = clone(classifier).set_fit_request(sample_weight=to_fit)
    pipe = Pipeline([("clean", TextCleaner()), ("classify", asks)])
    accuracy = get_scorer("accuracy").set_score_request(sample_weight=to_score)
    decays = [0.1, 20.0]
    fit_weight, score_weight = WEIGHT if to_fit else None, WEIGHT if to_score else None
    for form in ("list", "frame"):
        search = GridSearchCV(pipe, {"classify__weight_decay": decays}, cv=GroupKFold(3), scoring=accuracy)
        search.fit(FORMS[form], Y, sample_weight=WEIGHT, groups=GROUPS)
        for k, decay in enumerate(decays):
            found = [search.cv_results_[f"split{fold}_test_score"][k] for fold in range(3)]
            assert found == pytest.approx(by_hand(vectors, fit_weight, score_weight, weight_decay=decay), abs=1e-12)
        best = HeadClassifier(**HEAD | {"weight_decay": search.best_params_["classify__weight_decay"]})
        expected = best.fit(vectors, Y, sample_weight=fit_weight).predict_proba(vectors)
        assert np.array_equal(search.predict_proba(FORMS[form]), expected)


def test_weights_to_the_classifiers_own_score(classifier, vectors):
    """Without a scorer, ``score`` of the classifier gets the weights that it asked for."""
    asks = classifier.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    expected = by_hand(vectors, WEIGHT, WEIGHT)
    search = GridSearchCV(asks, {"weight_decay": [HEAD["weight_decay"]]}, cv=GroupKFold(3))
    search.fit(X, Y, sample_weight=WEIGHT, groups=GROUPS)
    assert [search.cv_results_[f"split{fold}_test_score"][0] for fold in range(3)] == pytest.approx(expected, abs=1e-12)
    if SKLEARN < (1, 7):
        pytest.skip("in scikit-learn 1.6 the score of a pipeline wants a request of its own")
    pipe = make_pipeline(TextCleaner(), asks)
    metadata = {"sample_weight": WEIGHT, "groups": GROUPS}
    found = cross_validate(pipe, X, Y, cv=GroupKFold(3), params=metadata)["test_score"]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_the_weights_make_a_difference(classifier, vectors):
    """The four ways above have four different results, so that their tests can tell them apart."""
    ways = [by_hand(vectors, fit, score) for fit in (WEIGHT, None) for score in (WEIGHT, None)]
    assert len({tuple(way) for way in ways}) == 4


def test_cross_validate_and_cross_val_predict_route_too(classifier, vectors):
    """Weights and groups travel in ``params``, to a scorer as well, if it asks."""
    pipe = make_pipeline(TextCleaner(), classifier.set_fit_request(sample_weight=True))
    settings = {"cv": GroupKFold(3), "params": {"sample_weight": WEIGHT, "groups": GROUPS}}
    crossed = cross_val_predict(pipe, X, Y, method="predict_proba", **settings)
    scores = {
        asked: cross_validate(
            pipe, list(X), Y, scoring=get_scorer("neg_log_loss").set_score_request(sample_weight=asked), **settings
        )["test_score"]
        for asked in (True, False)
    }
    assert not np.allclose(scores[True], scores[False])
    for fold, (train, test) in enumerate(SPLITS):
        fitted = HeadClassifier(**HEAD).fit(vectors[train], Y[train], sample_weight=WEIGHT[train])
        assert np.array_equal(crossed[test], fitted.predict_proba(vectors[test]))
        loss = -np.log(crossed[test, (Y[test] == "good").astype(int)])
        assert scores[True][fold] == pytest.approx(-np.average(loss, weights=WEIGHT[test]))
        assert scores[False][fold] == pytest.approx(-np.mean(loss))


def test_no_word_about_the_weights_is_an_error(classifier):
    """scikit-learn asks for a decision, and names the method and the estimator."""
    pipe = make_pipeline(TextCleaner(), classifier)
    with pytest.raises(UnsetMetadataPassedError, match=r"sample_weight.*BertSentimentClassifier"):
        pipe.fit(X, Y, sample_weight=WEIGHT)


def test_neither_cleaner_nor_embedder_is_in_the_way(embedder, vectors):
    """They take no metadata; the weights go past them to the estimator that asked."""
    asks = LogisticRegression().set_fit_request(sample_weight=True)
    pipe = make_pipeline(TextCleaner(), embedder, asks).fit(list(X), Y, sample_weight=WEIGHT)
    expected = LogisticRegression().fit(vectors, Y, sample_weight=WEIGHT)
    assert np.array_equal(pipe.predict_proba(X), expected.predict_proba(vectors))
    assert not np.allclose(expected.coef_, LogisticRegression().fit(vectors, Y).coef_)


def test_partial_fit_asks_for_weights_and_classes(classifier):
    """What the other methods take can be asked for by name; what a method does not take cannot."""
    asks = classifier.set_partial_fit_request(sample_weight=True, classes=True).set_fit_request(sample_weight=True)
    requests = asks.get_metadata_routing()
    assert requests.partial_fit.requests == {"classes": True, "sample_weight": True}
    assert requests.fit.requests == {"sample_weight": True}
    assert clone(asks).get_metadata_routing().fit.requests == {"sample_weight": True}
    for transformer in (TextCleaner(), classifier.embedder):
        assert not hasattr(transformer, "set_fit_request")


def test_voting_passes_the_weights_on(classifier, vectors):
    """Each member that asked is fitted with them."""
    asks = clone(classifier).set_fit_request(sample_weight=True)
    refuses = clone(classifier).set_fit_request(sample_weight=False)
    vote = VotingClassifier([("with", asks), ("without", refuses)], voting="soft").fit(X, Y, sample_weight=WEIGHT)
    weighted = HeadClassifier(**HEAD).fit(vectors, Y, sample_weight=WEIGHT).predict_proba(vectors)
    plain = HeadClassifier(**HEAD).fit(vectors, Y).predict_proba(vectors)
    assert np.array_equal(vote.named_estimators_["with"].predict_proba(X), weighted)
    assert np.array_equal(vote.named_estimators_["without"].predict_proba(X), plain)
    assert not np.allclose(weighted, plain, atol=0.01)


def test_bagging_draws_with_the_weights(classifier):
    """A text of weight 0 is in no bag, or weighs nothing there: to change its label changes nothing."""
    asks = classifier.set_fit_request(sample_weight=True)
    column = X.reshape(-1, 1)
    flipped = np.where(WEIGHT == 0, np.where(Y == "good", "bad", "good"), Y)
    assert np.sum(flipped != Y) > 10
    bag = BaggingClassifier(asks, n_estimators=2, random_state=0)
    one = clone(bag).fit(column, Y, sample_weight=WEIGHT).predict_proba(column)
    other = clone(bag).fit(column, flipped, sample_weight=WEIGHT).predict_proba(column)
    assert np.array_equal(one, other)
    assert not np.allclose(one, clone(bag).fit(column, flipped).predict_proba(column), atol=0.01)


def test_without_routing_weights_go_by_the_step(classifier, vectors):
    """The old way needs no request: ``classify__sample_weight`` in the fit of a pipeline or of a search."""
    pipe = Pipeline([("clean", TextCleaner()), ("classify", classifier)])
    expected = HeadClassifier(**HEAD).fit(vectors, Y, sample_weight=WEIGHT).predict_proba(vectors)
    with sklearn.config_context(enable_metadata_routing=False):
        assert np.array_equal(pipe.fit(X, Y, classify__sample_weight=WEIGHT).predict_proba(X), expected)
        search = GridSearchCV(pipe, {"classify__dropout": [0.0]}, cv=GroupKFold(3))
        search.fit(X, Y, classify__sample_weight=WEIGHT, groups=GROUPS)
        found = [search.cv_results_[f"split{fold}_test_score"][0] for fold in range(3)]
        assert found == pytest.approx(by_hand(vectors, WEIGHT, None), abs=1e-12)
        assert np.array_equal(search.predict_proba(X), expected)
