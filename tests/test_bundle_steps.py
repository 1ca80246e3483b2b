"""Steps that are not skbert's: which load without more ado, and what they were asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, SelectPercentile, chi2, mutual_info_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skbert import HeadClassifier, TextCleaner
from skbert._bundle import load_bundle, save_bundle
from skbert.exceptions import BundleError, SkbertWarning
from tests._bundles import FEW, X, Y, classifier, embedder, forge, same_bits

ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 3)) ** 2, columns=list("abc"))
PLAIN = LogisticRegression()
BEFORE_TEMPERATURE = parse_version(sklearn.__version__) < parse_version("1.8")
TEMPERATURE = pytest.param(
    CalibratedClassifierCV(PLAIN, cv=2, method="temperature"),
    marks=pytest.mark.skipif(BEFORE_TEMPERATURE, reason="scikit-learn below 1.8"),
    id="temperature",
)
WITHOUT_MORE_ADO = {
    "sigmoid": CalibratedClassifierCV(PLAIN, cv=2),
    "isotonic": CalibratedClassifierCV(PLAIN, cv=StratifiedKFold(2), method="isotonic"),
    "threshold": TunedThresholdClassifierCV(PLAIN, cv=2, scoring="f1_macro", random_state=0),
    "network": MLPClassifier(max_iter=5, random_state=0),
    "network by descent": MLPClassifier(max_iter=5, solver="sgd", random_state=0),
    "best": make_pipeline(SelectKBest(k=2), PLAIN),
    "best by another": make_pipeline(SelectKBest(chi2, k=2), PLAIN),
    "best part": make_pipeline(SelectPercentile(mutual_info_classif), PLAIN),
    "columns": make_pipeline(
        make_column_transformer((StandardScaler(), make_column_selector(dtype_include=float)), remainder="drop"), PLAIN
    ),
    "columns by name": make_pipeline(
        make_column_transformer((StandardScaler(), make_column_selector("[ab]")), remainder="passthrough"), PLAIN
    ),
    "voting": VotingClassifier([("a", PLAIN), ("b", HeadClassifier(**FEW))], voting="soft"),
    "stacking": StackingClassifier([("a", PLAIN), ("b", HeadClassifier(**FEW))], cv=2),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the upper one has the last word
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "estimator", [*(pytest.param(value, id=name) for name, value in WITHOUT_MORE_ADO.items()), TEMPERATURE]
)
def test_what_only_holds_values_loads_without_more_ado(estimator, tmp_path):
    """With every version of skops and scikit-learn: nothing has to be trusted, and saving warns of nothing."""
    expected = estimator.fit(ROWS, Y).predict_proba(ROWS)
    assert same_bits(load_bundle(save_bundle(estimator, tmp_path / "bundle")).predict_proba(ROWS), expected)


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        (KNeighborsClassifier(algorithm="kd_tree"), "KDTree"),
        (
            HistGradientBoostingClassifier(max_iter=2),
            "TreePredictor",
        ),
        (make_pipeline(SimpleImputer(), PLAIN), "dtype"),
    ],
    ids=["neighbours", "boosting", "imputer"],
)
def test_saving_says_what_loading_will_need(step, needed, tmp_path):
    """Once, with the step and the list; the list is enough."""
    with pytest.warns(SkbertWarning, match=r"trusted=\[.*\]\)") as caught:
        folder = save_bundle(step.fit(ROWS, Y), tmp_path / "bundle")
    assert len(caught) == 1
    trusted = str(caught[0].message).partition("trusted=")[2].strip(").").strip("[]").replace("'", "").split(", ")
    assert needed in [name.rpartition(".")[2] for name in trusted]
    with pytest.raises(BundleError, match=r"in '0\.skops' holds types"):
        load_bundle(folder)
    assert same_bits(load_bundle(folder, trusted=trusted).predict_proba(ROWS), step.predict_proba(ROWS))


# -- requests ------------------------------------------------------------------------------------------------------


def asked(estimator):
    """Return what an estimator was asked for, as scikit-learn tells it."""
    with sklearn.config_context(enable_metadata_routing=True):
        return repr(estimator.get_metadata_routing())


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.filterwarnings("error::skbert.exceptions.SkbertWarning")
def test_requests_of_a_step_are_kept(routing, tmp_path):
    """skops alone cannot keep them; they come back, of a step, of what is in it, and of a split."""
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    logistic = LogisticRegression().set_fit_request(sample_weight="w").set_score_request(sample_weight=False)
    head = HeadClassifier(**FEW).set_fit_request(sample_weight=True)
    voting = VotingClassifier([("a", make_pipeline(scaler, logistic)), ("b", head)])
    calibrated = CalibratedClassifierCV(logistic, cv=GroupKFold(2).set_split_request(groups=False))
    for name, estimator in {"scaler": scaler, "voting": voting, "calibrated": calibrated}.items():
        before = asked(estimator)
        loaded = load_bundle(save_bundle(estimator, tmp_path / name))
        assert asked(loaded) == asked(estimator) == before
        assert "True" in before or "'w'" in before
    loaded = load_bundle(tmp_path / "voting")
    assert "'sample_weight': 'w'" in asked(loaded.estimators[0][1][-1])
    assert "'sample_weight': True" in asked(loaded.estimators[1][1])
    loaded.set_params(a__logisticregression=LogisticRegression().set_fit_request(sample_weight=True))
    weights = np.arange(24.0) + 1
    assert loaded.fit(ROWS, Y, sample_weight=weights).predict(ROWS).shape == (24,)


def test_requests_are_kept_of_what_was_fitted(routing, tiny_bert_folder, tmp_path):
    """The same predictions, and the next fit gets its weights."""
    inner = classifier(tiny_bert_folder).set_fit_request(sample_weight=True)
    plain = make_pipeline(embedder(tiny_bert_folder), LogisticRegression().set_fit_request(sample_weight=True))
    stacking = VotingClassifier([("a", inner), ("b", plain)], voting="soft").fit(X, Y, sample_weight=np.ones(24))
    loaded = load_bundle(save_bundle(stacking, tmp_path / "bundle"))
    assert same_bits(loaded.predict_proba(X), stacking.predict_proba(X))
    assert asked(loaded.estimators_[0]) == asked(stacking.estimators_[0])
    assert same_bits(loaded.fit(X, Y, sample_weight=np.ones(24)).predict_proba(X), stacking.predict_proba(X))


def test_requests_of_an_estimator_with_two_places_are_kept_in_both(routing, tmp_path):
    """Natively and within a part, and in two parts."""
    head = HeadClassifier(**FEW).set_fit_request(sample_weight=True)
    voting = [VotingClassifier([("a", head), ("b", PLAIN)]), VotingClassifier([("a", head), ("b", None)])]
    loaded = load_bundle(save_bundle(make_pipeline(*voting, head), tmp_path / "bundle"))
    for found in (loaded[0].estimators[0][1], loaded[1].estimators[0][1], loaded[2]):
        assert asked(found) == asked(head)


def test_a_request_that_cannot_be_made_again_is_named_when_saving(routing, tmp_path):
    """With its remedy."""
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    scaler._metadata_request.fit.add_request(param="nothing", alias=True)
    with pytest.raises(BundleError, match=r"StandardScaler\.set_fit_request\(.*Remove the request before saving"):
        save_bundle(make_pipeline(scaler), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "requests",
    [{"params": {}}, {"fit": 3}, [], {"fit": {"nothing": True}}, {"transform": {"sample_weight": 1}}],
    ids=str,
)
def test_forged_requests_are_refused(requests, tmp_path):
    """Whatever scikit-learn would say to them."""
    folder = save_bundle(TextCleaner(), tmp_path / "bundle")
    node = {"is": "HeadClassifier", "state": {}, "routing": requests}
    forge(folder, lambda content: content.update(estimator=node))
    with pytest.raises(BundleError, match=r"metadata|which the HeadClassifier was saved with"):
        load_bundle(folder)


# -- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy below 2")
def test_texts_with_something_missing_are_refused(tmp_path):
    """The object that stands for a missing text would be gone on the other side, and the text another."""
    for missing in (None, np.nan):
        words = np.array(["a", missing], dtype=np.dtypes.StringDType(na_object=missing))
        with pytest.raises(BundleError, match=r"TextCleaner\.stop_words is a ndarray .* cannot hold"):
            save_bundle(TextCleaner(stop_words=words), tmp_path / "bundle")
    words = np.array(["a", "b"], dtype=np.dtypes.StringDType())
    assert load_bundle(save_bundle(TextCleaner(stop_words=words), tmp_path / "bundle")).stop_words.dtype == words.dtype
