"""Meta-estimators over texts, and what to write where one of them takes none.

As in the searches, the reference embeds outside and runs scikit-learn's tool
over the matrix with HeadClassifier in it. All vectors come from a store that
was filled before, so that equal means equal to the bit.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV, cross_val_predict
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from skbert import BertEmbedder, HeadClassifier, MemoryStore, TextCleaner
from tests import _compose
from tests._compose import HEAD, every_form, looked_up, make_texts, numbers, two_d

X, Y, GROUPS = make_texts()
X3, Y3, _ = make_texts(66, ("bad", "good", "plain"), seed=1)
FORMS, TWO_D = every_form(X), two_d(X)
classifier, vectors = _compose.classifier, _compose.vectors
TARGETS = np.column_stack([Y == "good", GROUPS < 4]).astype(int)
# Every third row's label is unknown.
PARTLY = np.where(np.arange(len(X)) % 3 == 0, -1, TARGETS[:, 0])


@pytest.fixture
def embedder(tiny_bert_folder):
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", layers=(0, -1), cache=MemoryStore())
    embedder.transform(np.concatenate([X, X3]))
    return embedder


@pytest.fixture
def head():
    return HeadClassifier(**HEAD)


@pytest.fixture
def words():
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


# -- probabilities and thresholds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", [True, False])
def test_calibration(classifier, head, vectors, ensemble):
    """Calibrated probabilities are those of the calibrated head, and others than before."""
    settings = {"cv": 3, "method": "sigmoid", "ensemble": ensemble}
    expected = CalibratedClassifierCV(head, **settings).fit(vectors, Y).predict_proba(vectors)
    for form in ("list", "series", "frame"):
        calibrated = CalibratedClassifierCV(classifier, **settings).fit(FORMS[form], Y)
        assert np.array_equal(calibrated.predict_proba(FORMS[form]), expected)
    assert not np.allclose(expected, clone(head).fit(vectors, Y).predict_proba(vectors), atol=0.01)


def test_calibration_of_a_fitted_classifier(classifier, head, vectors):
    """Over FrozenEstimator the classifier is not fitted again: texts of their own set the calibration only."""
    fitted = classifier.fit(X[:40], Y[:40])
    before = fitted.decision_function(X)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="isotonic").fit(list(X[40:]), Y[40:])
    frozen = FrozenEstimator(head.fit(vectors[:40], Y[:40]))
    expected = CalibratedClassifierCV(frozen, method="isotonic").fit(vectors[40:], Y[40:])
    assert np.array_equal(calibrated.predict_proba(X), expected.predict_proba(vectors))
    assert np.array_equal(fitted.decision_function(X), before)


@pytest.mark.parametrize("form", ["list", "frame"])
def test_a_tuned_threshold(classifier, head, vectors, form):
    """The threshold is the one found for the head, it is not the usual one, and the predictions follow it."""
    scorer = make_scorer(f1_score, pos_label="good")
    y = np.where((Y == "good") & (GROUPS < 4), "good", "bad")  # a quarter, so that a half is no good threshold
    settings = {"scoring": scorer, "cv": 3, "thresholds": 25, "store_cv_results": True}
    tuned = TunedThresholdClassifierCV(classifier, **settings).fit(FORMS[form], y)
    expected = TunedThresholdClassifierCV(head, **settings).fit(vectors, y)
    assert tuned.best_threshold_ == expected.best_threshold_ != 0.5
    assert tuned.best_score_ == expected.best_score_
    assert np.array_equal(tuned.cv_results_["scores"], expected.cv_results_["scores"])
    above = tuned.predict_proba(FORMS[form])[:, 1] >= tuned.best_threshold_
    assert np.array_equal(tuned.predict(FORMS[form]) == "good", above)
    assert not np.array_equal(tuned.predict(FORMS[form]), tuned.estimator_.predict(FORMS[form]))


def test_a_fixed_threshold_on_a_frozen_classifier(classifier):
    """Predictions follow the threshold that was given, for the label that was given, without a fit."""
    fitted = classifier.fit(X, Y)
    chance = fitted.predict_proba(X)[:, 0]
    threshold = float(np.quantile(chance, 0.8))
    fixed = FixedThresholdClassifier(FrozenEstimator(fitted), threshold=threshold, pos_label="bad").fit(X, Y)
    assert np.array_equal(fixed.predict(X) == "bad", chance >= threshold)
    assert 0 < np.mean(fixed.predict(X) == "bad") < np.mean(fitted.predict(X) == "bad")


# -- several classifiers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "array", "series"])
def test_voting_with_a_model_of_words(classifier, head, vectors, words, form):
    """The vote's probabilities are the weighted mean of its members', each fitted alone."""
    vote = VotingClassifier([("bert", classifier), ("words", words)], voting="soft", weights=[3, 1])
    vote.fit(FORMS[form], Y)
    of_bert = head.fit(vectors, Y).predict_proba(vectors)
    of_words = clone(words).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(vote.predict_proba(FORMS[form]), (3 * of_bert + of_words) / 4, rtol=1e-12)
    assert not np.allclose(of_bert, of_words, atol=0.01)
    assert vote.score(FORMS[form], Y) > 0.9


@pytest.mark.parametrize("form", ["list", "array", "series"])
def test_stacking_with_a_model_of_words(classifier, head, vectors, words, form):
    """The last estimator learns from the members' cross-validated probabilities, as put together by hand."""
    stack = StackingClassifier([("bert", classifier), ("words", words)], cv=3).fit(FORMS[form], Y)
    members = [(head, vectors), (words, X)]
    crossed = [cross_val_predict(member, data, Y, cv=3, method="predict_proba")[:, 1] for member, data in members]
    last = LogisticRegression().fit(np.column_stack(crossed), Y)
    whole = [clone(member).fit(data, Y).predict_proba(data)[:, 1] for member, data in members]
    expected = last.predict_proba(np.column_stack(whole))
    np.testing.assert_allclose(stack.predict_proba(FORMS[form]), expected, rtol=1e-9)
    assert np.array_equal(stack.final_estimator_.coef_, last.coef_)


@pytest.mark.parametrize("form", TWO_D)
def test_bagging(classifier, vectors, form):
    """Bags of texts are the bags of rows, member by member."""
    settings = {"n_estimators": 3, "max_samples": 0.6, "random_state": 0}
    bag = BaggingClassifier(classifier, **settings).fit(TWO_D[form], Y)
    expected = BaggingClassifier(looked_up(vectors), **settings).fit(numbers(len(X)), Y)
    for ours, theirs in zip(bag.estimators_samples_, expected.estimators_samples_, strict=True):
        assert np.array_equal(ours, theirs)
    members = zip(bag.estimators_, expected.estimators_, strict=True)
    for at, (ours, theirs) in enumerate(members):
        alone = theirs.predict_proba(numbers(len(X)))
        assert np.array_equal(ours.predict_proba(X), alone), at
    assert np.array_equal(bag.predict_proba(TWO_D[form]), expected.predict_proba(numbers(len(X))))
    assert not np.array_equal(*bag.estimators_samples_[:2])


@pytest.mark.parametrize("form", TWO_D)
def test_adaboost(classifier, head, vectors, form):
    """Rounds of boosting weigh the texts as they weigh the rows, through the classifier's ``sample_weight``."""
    classifier.set_params(max_iter=3)  # weak enough to leave something to boost
    settings = {"n_estimators": 4, "random_state": 0}
    boosted = AdaBoostClassifier(classifier, **settings).fit(TWO_D[form], Y)
    expected = AdaBoostClassifier(clone(head).set_params(max_iter=3), **settings).fit(vectors, Y)
    assert np.array_equal(boosted.estimator_weights_, expected.estimator_weights_)
    assert len(np.unique(boosted.estimator_weights_)) == 4
    assert np.array_equal(boosted.predict_proba(TWO_D[form]), expected.predict_proba(vectors))


def test_a_cleaner_keeps_the_column_that_bagging_and_boosting_want(classifier):
    """The cleaner stands before them: (n, 1) goes in and (n, 1) comes out."""
    noisy = np.array([f"RT @ann: {text}" for text in X], dtype=object).reshape(-1, 1)
    for meta in (BaggingClassifier, AdaBoostClassifier):
        ensemble = meta(classifier, n_estimators=2, random_state=0)
        pipe = make_pipeline(TextCleaner(), ensemble).fit(noisy, Y)
        expected = clone(ensemble).fit(X.reshape(-1, 1), Y)
        assert np.array_equal(pipe.predict(noisy), expected.predict(X.reshape(-1, 1)))


# -- importance ----------------------------------------------------------------------------------------------------


def test_permutation_importance_of_a_column_of_texts(classifier, vectors):
    """The shuffles are those of row numbers with the vectors looked up, and texts that tell the label matter."""
    settings = {"n_repeats": 4, "random_state": 0, "scoring": "neg_log_loss"}
    expected = permutation_importance(looked_up(vectors).fit(numbers(len(X)), Y), numbers(len(X)), Y, **settings)
    classifier.fit(X, Y)
    found = permutation_importance(classifier, X.reshape(-1, 1), Y, **settings)
    assert np.array_equal(found.importances, expected.importances)
    assert found.importances_mean > 0.2


def test_permutation_importance_of_a_frame(classifier, embedder):
    """A one-column frame is shuffled as it is; beside a column of noise, the texts are what counts."""
    frame = TWO_D["frame"]
    found = permutation_importance(classifier.fit(frame, Y), frame, Y, n_repeats=3, random_state=0)
    assert found.importances.shape == (1, 3)
    assert found.importances_mean > 0.2

    wide = frame.assign(noise=np.random.default_rng(0).random(len(X)))
    columns = make_column_transformer((embedder, ["text"]), (StandardScaler(), ["noise"]))
    pipe = make_pipeline(columns, LogisticRegression()).fit(wide, Y)
    found = permutation_importance(pipe, wide, Y, n_repeats=3, random_state=0)
    assert found.importances_mean[0] > 0.2 > abs(found.importances_mean[1])


# -- several labels, several targets -------------------------------------------------------------------------------


def test_one_against_the_rest(classifier, head, embedder):
    """One classifier a label, each that of the head; the labels keep their names."""
    expected = OneVsRestClassifier(head).fit(embedder.transform(X3), Y3)
    for form in every_form(X3).values():
        rest = OneVsRestClassifier(classifier).fit(form, Y3)
        assert np.array_equal(rest.predict_proba(form), expected.predict_proba(embedder.transform(X3)))
    assert rest.classes_.tolist() == ["bad", "good", "plain"]
    assert len(rest.estimators_) == 3
    assert rest.score(X3, Y3) > 0.7


def test_several_targets(classifier, head, vectors):
    """One classifier a target, over one and the same vectors."""
    expected = MultiOutputClassifier(head).fit(vectors, TARGETS)
    misses = classifier.embedder.cache.info().misses
    for form in FORMS.values():
        several = MultiOutputClassifier(classifier).fit(form, TARGETS)
        for ours, theirs in zip(several.predict_proba(form), expected.predict_proba(vectors), strict=True):
            assert np.array_equal(ours, theirs)
    assert several.predict(X).shape == (len(X), 2)
    assert classifier.embedder.cache.info().misses == misses


# -- copies --------------------------------------------------------------------------------------------------------


def test_copies_of_a_fitted_ensemble(classifier, words):
    """A deep copy predicts as the original does and shares its store; a clone is unfitted, and refitted is the same."""
    vote = VotingClassifier([("bert", classifier), ("words", words)], voting="soft").fit(X, Y)
    before = vote.predict_proba(X)
    deep, bare = copy.deepcopy(vote), clone(vote)
    assert np.array_equal(deep.predict_proba(X), before)
    assert deep.named_estimators_["bert"].embedder.cache is classifier.embedder.cache
    assert not hasattr(bare, "estimators_")
    assert np.array_equal(bare.fit(X, Y).predict_proba(X), before)
    deep.fit(X, Y[::-1])
    assert np.array_equal(vote.predict_proba(X), before)


# -- what takes no texts, and what to write instead ----------------------------------------------------------------

REFUSED_1D = {  # they want two dimensions, whatever is in them
    "bagging": lambda clf, X: BaggingClassifier(clf, n_estimators=2).fit(X, Y),
    "boosting": lambda clf, X: AdaBoostClassifier(clf, n_estimators=2).fit(X, Y),
    "importance": lambda clf, X: permutation_importance(clf.fit(X, Y), X, Y, n_repeats=2),
}
REFUSED = {  # they make numbers of X, or put it beside numbers
    "one against one": lambda clf, X: OneVsOneClassifier(clf).fit(X, Y),
    "chain": lambda clf, X: ClassifierChain(clf).fit(X, TARGETS),
    "self-training": lambda clf, X: SelfTrainingClassifier(clf).fit(X, PARTLY),
    "stacking with passthrough": lambda clf, X: StackingClassifier(
        [("bert", clf)], LogisticRegression(), cv=2, passthrough=True
    ).fit(X, Y),
}


@pytest.mark.parametrize("form", ["list", "array", "series"])
@pytest.mark.parametrize("name", REFUSED_1D)
def test_scikit_learn_wants_a_column(classifier, name, form):
    """These refuse texts in one dimension, as of scikit-learn 1.6 to 1.9; docs/guide/composing.md gives the way out."""
    with pytest.raises((ValueError, IndexError), match=r"Expected 2D array|2-dimensional container|tuple index"):
        REFUSED_1D[name](classifier, FORMS[form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REFUSED)
def test_scikit_learn_takes_no_texts(classifier, name, form):
    """These take texts in no form, as of scikit-learn 1.6 to 1.9; docs/guide/composing.md gives the way out."""
    with pytest.raises(ValueError, match=r"could not convert string to float|Expected 2D|same number of dimensions"):
        REFUSED[name](classifier, FORMS[form])


def test_boosting_a_pipeline_has_no_way_for_the_weights(embedder):
    """AdaBoost needs ``sample_weight`` by that name, which a pipeline does not take."""
    pipe = make_pipeline(embedder, LogisticRegression())
    with pytest.raises(ValueError, match="Pipeline doesn't support sample_weight"):
        AdaBoostClassifier(pipe, n_estimators=2).fit(X.reshape(-1, 1), Y)


OUTSIDE = {
    "one against one": (OneVsOneClassifier, Y),
    "chain": (lambda head: ClassifierChain(head, order=[1, 0]), TARGETS),
    "self-training": (lambda head: SelfTrainingClassifier(head, threshold=0.8), PARTLY),
    "stacking with passthrough": (
        lambda head: StackingClassifier([("bert", head)], LogisticRegression(), cv=2, passthrough=True),
        Y,
    ),
    "bagging": (lambda head: BaggingClassifier(head, n_estimators=2, random_state=0), Y),
    "boosting": (lambda head: AdaBoostClassifier(head, n_estimators=2, random_state=0), Y),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_with_the_embedder_outside_all_of_them_take_texts(embedder, head, vectors, name, form):
    """The documented way: embedder, then the meta-estimator over HeadClassifier. It takes every form of text."""
    meta, y = OUTSIDE[name]
    pipe = make_pipeline(TextCleaner(), embedder, meta(head)).fit(FORMS[form], y)
    expected = meta(head).fit(vectors, y)
    assert np.array_equal(pipe.predict(FORMS[form]), expected.predict(vectors))
    assert pipe.predict(FORMS[form]).shape == y.shape


def test_one_against_one_and_self_training_learn_from_texts(embedder, head):
    """What the way out learns is right: three labels by three duels, and labels that were unknown."""
    duel = make_pipeline(embedder, OneVsOneClassifier(head)).fit(pd.Series(X3), Y3)
    assert len(duel[-1].estimators_) == 3
    assert duel.score(X3, Y3) > 0.8
    taught = make_pipeline(embedder, SelfTrainingClassifier(head, threshold=0.7)).fit(X, PARTLY)[-1]
    known = PARTLY != -1
    assert np.all(taught.labeled_iter_[known] == 0)
    assert np.any(taught.labeled_iter_[~known] > 0)
    assert np.array_equal(taught.transduction_[known], PARTLY[known])
