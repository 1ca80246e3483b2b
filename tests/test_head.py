"""Laws of HeadClassifier: a scikit-learn classifier in every respect."""

import io
import pickle
import pickletools
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbert._head import HeadClassifier, fitting
from skbert.exceptions import InvalidParameterError, SkbertWarning
from tests._global_state import GlobalState

X, Y = make_classification(300, 12, n_informative=6, n_classes=3, class_sep=1.5, random_state=0)
NAMES = np.array(["negative", "neutral", "positive"])


def quick(**changes):
    """Return a head that is trained in a moment."""
    params = {"hidden_layer_sizes": (16,), "max_iter": 15, "learning_rate_init": 1e-2, "weight_decay": 0.1}
    return HeadClassifier(**(params | {"random_state": 0} | changes))


def assert_same(one, other):
    """Assert that two fitted heads are equal to the bit, curves included."""
    for a, b in zip([*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_loss_curve_ == other.validation_loss_curve_


def differ(one, other):
    """Return whether two fitted heads predict differently."""
    a, b = one.predict_proba(X), other.predict_proba(X)
    return a.shape != b.shape or bool(np.abs(a - b).max() > 1e-6)


LINEAR = quick(hidden_layer_sizes=(), n_heads=2, early_stopping=False, max_iter=100)


# No check is expected to fail. tests/test_battery.py has those of the default head.
@parametrize_with_checks([LINEAR])
@pytest.mark.filterwarnings("ignore::skbert.exceptions.ValidationSplitWarning")
def test_scikit_learns_common_checks(estimator, check):
    """scikit-learn's complete battery, sample weights against repetition included."""
    check(estimator)


# ---- what comes out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [(np.array([0, 1]), int), (np.array([7, 3]), int), (np.array([False, True]), bool), (NAMES[:2], "<U8")],
)
def test_binary_labels_of_every_kind(labels, dtype):
    """Labels come back as they went in; decision_function has one column and its sign is the prediction."""
    y = labels[(Y > 0).astype(int)]
    head = quick().fit(X, y)
    np.testing.assert_array_equal(head.classes_, np.unique(labels))
    assert head.predict(X).dtype == np.dtype(dtype)
    decision, proba = head.decision_function(X), head.predict_proba(X)
    assert decision.shape == (300,)
    np.testing.assert_array_equal(head.predict(X), head.classes_[(decision > 0).astype(int)])
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), proba[:, 1], rtol=1e-12)


def test_probabilities_are_float64_and_sum_to_one():
    """predict_proba is a distribution whose logarithm is decision_function, and predict is its largest entry."""
    head = quick().fit(X, NAMES[Y])
    proba = head.predict_proba(X)
    assert (proba.dtype, proba.shape) == (np.float64, (300, 3))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(head.decision_function(X), np.log(proba), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(head.predict(X), head.classes_[proba.argmax(axis=1)])


def test_decision_function_does_not_saturate():
    """Far from the border the log-odds keep their order, where probabilities have long been rounded to one."""
    y = (X[:, 0] > 0).astype(int)
    head = quick(hidden_layer_sizes=(), early_stopping=False).fit(X, y)
    far = np.zeros((5, 12))
    far[:, 0] = [1e2, 1e3, 1e4, 1e5, 1e6]
    assert (np.diff(head.decision_function(far)) > 0).all()
    assert np.isfinite(head.decision_function(far)).all()


def test_rows_are_predicted_by_themselves(monkeypatch):
    """Order, subset, duplicates and the size of a piece do not change a row's probabilities."""
    head = quick(n_heads=3).fit(X, Y)
    proba = head.predict_proba(X)
    order = np.random.RandomState(0).randint(300, size=500)
    np.testing.assert_allclose(head.predict_proba(X[order]), proba[order], rtol=1e-10)
    np.testing.assert_allclose(np.vstack([head.predict_proba(row[None]) for row in X[:20]]), proba[:20], rtol=1e-10)
    monkeypatch.setattr("skbert._head.rows._CHUNK_BYTES", 1000)
    np.testing.assert_allclose(head.predict_proba(X), proba, rtol=1e-10)


def test_it_learns():
    """Iris is learned well, and three classes in noise by the defaults."""
    iris, species = load_iris(return_X_y=True)
    assert cross_val_score(quick(max_iter=100), iris, species).mean() > 0.9
    assert HeadClassifier(random_state=0).fit(X, Y).score(X, Y) > 0.8


def test_works_in_pipeline_and_grid_search():
    """The head composes with scikit-learn's tools, its parameters being grid keys."""
    search = GridSearchCV(make_pipeline(StandardScaler(), quick()), {"headclassifier__dropout": [0.0, 0.5]}, cv=2)
    assert search.fit(X, NAMES[Y]).best_score_ > 0.5


def test_attributes_after_a_fit():
    """Every attribute has the documented shape, and the curves belong together."""
    head = quick(hidden_layer_sizes=(5, 4), n_heads=2).fit(X, Y)
    assert [w.shape for w in head.coefs_] == [(2, 12, 5), (2, 5, 4), (2, 4, 3)]
    assert [b.shape for b in head.intercepts_] == [(2, 5), (2, 4), (2, 3)]
    assert {a.dtype for a in [*head.coefs_, *head.intercepts_]} == {np.dtype(np.float32)}
    assert head.n_features_in_ == 12
    assert head.n_iter_ == len(head.loss_curve_) == len(head.validation_loss_curve_) == len(head.validation_scores_)
    assert head.best_iter_ == np.argmin(head.validation_loss_curve_) + 1
    assert head.best_validation_score_ == head.validation_scores_[head.best_iter_ - 1]


def test_attributes_without_a_validation_part():
    """Without early stopping all epochs are run and there are no validation figures."""
    head = quick(early_stopping=False, max_iter=7).fit(X, Y)
    assert head.n_iter_ == head.best_iter_ == len(head.loss_curve_) == 7
    assert head.validation_loss_curve_ is head.validation_scores_ is head.best_validation_score_ is None


# ---- weights and copies --------------------------------------------------------------------------------------------


def test_weight_two_is_two_copies_to_the_bit():
    """A row of weight k is k copies of it, a row of weight 0 is none, whatever the order of the rows."""
    weight = np.random.RandomState(0).randint(0, 4, 300)
    order = np.random.RandomState(1).permutation(300)
    weighted = quick().fit(X, Y, sample_weight=weight)
    repeated = quick().fit(X[order].repeat(weight[order], axis=0), Y[order].repeat(weight[order]))
    assert_same(weighted, repeated)


def test_order_of_rows_does_not_matter():
    """Shuffled rows give the same head, to the bit."""
    order = np.random.RandomState(0).permutation(300)
    assert_same(quick().fit(X, Y), quick().fit(X[order], Y[order]))


def test_rows_of_weight_zero_influence_nothing():
    """Neither their values nor their labels are seen, not even as a class."""
    weight = np.r_[np.ones(300), np.zeros(10)]
    junk, labels = np.full((10, 12), 1e6), np.full(10, 99)
    head = quick().fit(np.vstack([X, junk]), np.r_[Y, labels], sample_weight=weight)
    assert_same(head, quick().fit(X, Y))
    assert 99 not in head.classes_


def test_class_weights_are_sample_weights():
    """A dict, "balanced" and the same as sample weights give one head; on the accuracy they have no say."""
    y = np.where(X[:, 0] + np.random.RandomState(0).randn(300) > 2.5, 1, 0)  # a tenth of the rows, not easy to tell
    factors = compute_class_weight("balanced", classes=np.array([0, 1]), y=y)
    kwargs = {"early_stopping": False, "hidden_layer_sizes": ()}
    by_name = quick(class_weight="balanced", **kwargs).fit(X, y)
    milder = quick(class_weight="balanced_sqrt", **kwargs).fit(X, y)
    assert_same(milder, quick(class_weight=dict(enumerate(np.sqrt(factors))), **kwargs).fit(X, y))
    by_dict = quick(class_weight=dict(enumerate(factors)), **kwargs).fit(X, y)
    by_sample = quick(**kwargs).fit(X, y, sample_weight=factors[y])
    assert_same(by_name, by_dict)
    # Sample weights count for mean and scale of the columns as well, so that these two differ by that alone.
    assert np.corrcoef(by_name.decision_function(X), by_sample.decision_function(X))[0, 1] > 0.99
    assert by_name.predict(X).mean() > quick(**kwargs).fit(X, y).predict(X).mean() + 0.1


def test_class_weights_may_leave_out_classes_or_name_absent_ones():
    """A class without a key weighs 1, a key of an absent class is ignored; both at once is a mistake."""
    assert_same(quick(class_weight={1: 3.0}).fit(X, Y), quick(class_weight={0: 1, 1: 3, 2: 1, 9: 5}).fit(X, Y))
    must = "The 'class_weight' parameter of HeadClassifier must be a dict"
    for fit in (HeadClassifier.fit, partial(HeadClassifier.partial_fit, classes=[0, 1, 2])):
        with pytest.raises(InvalidParameterError, match=rf"{must} .* Got {{'1': 3.0}} instead, with the keys \['1'\]"):
            fit(quick(class_weight={"1": 3.0}), X, Y)
        with pytest.raises(InvalidParameterError, match=f"{must} that leaves weight to a class in y. Got {{0: 0, 1: 0"):
            fit(quick(class_weight={0: 0, 1: 0, 2: 0}), X, Y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(300), "all zero"),
        (np.r_[np.ones(299), -1.0], "negative values, the first in row 299"),
        (np.ones(299), r"sample_weight.shape == \(299,\), expected \(300,\)"),
        (np.ones((300, 2)), r"sample_weight.shape == \(300, 2\), expected \(300,\)"),
        (np.r_[np.ones(299), np.nan], "Input sample_weight contains NaN"),
    ],
)
def test_wrong_sample_weights_are_refused(weight, message):
    """Weights that make no sense give an error that says why, in fit and in partial_fit."""
    with pytest.raises(ValueError, match=message):
        quick().fit(X, Y, sample_weight=weight)
    with pytest.raises(ValueError, match=message):
        quick().partial_fit(X, Y, classes=[0, 1, 2], sample_weight=weight)


# ---- determinism and state -----------------------------------------------------------------------------------------


def test_same_random_state_gives_the_same_head():
    """One random_state, one head, to the bit; another one, another head; an instance moves on."""
    assert_same(quick().fit(X, Y), quick().fit(X, Y))
    assert differ(quick().fit(X, Y), quick(random_state=1).fit(X, Y))
    instance = np.random.RandomState(0)
    first, second = (quick(random_state=instance).fit(X, Y) for _ in range(2))
    assert_same(first, quick(random_state=np.random.RandomState(0)).fit(X, Y))
    assert differ(first, second)


def test_nothing_global_is_touched():
    """Seeds, generators, threads, flags, environment and warnings filters stay as they are."""
    quick().fit(X, Y)  # what is imported on first use
    state = GlobalState()
    quick(dropout=0.5, n_heads=2).fit(X, Y).predict(X)
    state.assert_unchanged()


def test_float32_and_float64_rows_give_the_same_head():
    """The dtype of X does not matter, nor does its memory layout or whether it can be written."""
    single = X.astype(np.float32)
    head = quick().fit(single, Y)
    read_only = single.astype(np.float64)
    read_only.flags.writeable = False
    assert_same(head, quick().fit(read_only, Y))
    assert_same(head, quick().fit(np.asfortranarray(single), Y))


def test_memory_mapped_rows(tmp_path):
    """X may stay on disk."""
    path = tmp_path / "X.npy"
    np.save(path, X)
    assert_same(quick().fit(X, Y), quick().fit(np.load(path, mmap_mode="r"), Y))


def test_refit_forgets():
    """A second fit leaves nothing of the first, whatever the two were."""
    head = quick().fit(X, Y)
    head.partial_fit(X, Y)
    head.set_params(early_stopping=False).fit(X[:, :5], NAMES[Y])
    fresh = quick(early_stopping=False).fit(X[:, :5], NAMES[Y])
    assert_same(head, fresh)
    assert vars(head).keys() == vars(fresh).keys()
    assert (head.n_features_in_, head.best_validation_score_) == (5, None)


def test_fit_rewrites_no_parameter():
    """Parameters after a fit are the objects that were passed."""
    params = {"hidden_layer_sizes": [8], "class_weight": {0: 2.0}, "random_state": np.random.RandomState(0)}
    head = quick(**params).fit(X, Y)
    assert all(getattr(head, name) is value for name, value in params.items())


def test_pickle_is_numpy_only():
    """A pickle names no torch, loads, and predicts to the bit."""
    head = quick().partial_fit(X, Y, classes=[0, 1, 2])
    for fitted in (head, quick().fit(X, Y)):
        data = pickle.dumps(fitted)
        named = [value for _, value, _ in pickletools.genops(io.BytesIO(data)) if isinstance(value, str)]
        assert not [name for name in named if name.startswith("torch")]
        np.testing.assert_array_equal(pickle.loads(data).predict_proba(X), fitted.predict_proba(X))


def test_clone_is_unfitted():
    """A clone has the parameters and nothing learned."""
    twin = clone(quick().fit(X, Y))
    with pytest.raises(NotFittedError):
        twin.predict(X)


def test_interrupt_keeps_a_usable_head(monkeypatch):
    """Ctrl-C during a fit warns, and the head has the best weights so far."""

    def interrupt(bar, history):
        if len(history.loss) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_show", interrupt)
        with pytest.warns(SkbertWarning, match="interrupted by the user in epoch 4. The weights of epoch 3 are kept"):
            head = quick().fit(X, Y)
    assert_same(head, quick(max_iter=3).fit(X, Y))
    assert head.predict(X).shape == (300,)


def test_an_interrupted_partial_fit_leaves_the_head_as_it_was(monkeypatch):
    """Ctrl-C ends the call, so that a loop over parts ends too."""
    head = quick().partial_fit(X, Y, classes=[0, 1, 2])
    before = head.predict_proba(X)

    def interrupt(bar, history):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_show", interrupt)
    with pytest.raises(KeyboardInterrupt):
        head.partial_fit(X, Y)
    np.testing.assert_array_equal(head.predict_proba(X), before)
    assert head.n_iter_ == 1


def test_loss_that_blows_up_is_told():
    """Without a good epoch a diverged training is an error with its remedy."""
    with pytest.raises(ValueError, match=r"no longer a finite number in epoch .*Lower learning_rate_init"):
        quick(learning_rate_init=1e38, early_stopping=False).fit(X, Y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("fault", ["one class", "NaN in X", "weights", "loss"])
def test_a_fit_that_fails_leaves_the_earlier_one_whole(method, fault):
    """Whatever the fault, attributes and predictions are those of before."""
    head = quick().fit(X, Y)
    before, expected = set(vars(head)), head.predict_proba(X)
    bad = X.copy()
    bad[3, 1] = np.nan
    arguments = {
        "one class": (X, np.full_like(Y, 7)),
        "NaN in X": (bad, Y),
        "weights": (X, Y, None, -np.ones(len(Y))) if method == "partial_fit" else (X, Y, -np.ones(len(Y))),
        "loss": (X, Y),
    }[fault]
    if fault == "loss":
        head.set_params(learning_rate_init=1e38, early_stopping=False)
    with pytest.raises(ValueError, match=r"class|NaN|weight|finite"):
        getattr(head, method)(*arguments)
    assert set(vars(head)) == before
    assert np.array_equal(head.predict_proba(X), expected)


def test_a_last_step_that_blows_up_is_told():
    """The loss of the only batch is finite, the weights after its step are not: an error, not NaN probabilities."""
    with pytest.raises(ValueError, match="no longer a finite number in epoch 1"):
        quick(learning_rate_init=1e38, early_stopping=False, max_iter=1, batch_size=1000).fit(X, Y)


def test_good_epochs_before_a_loss_that_blows_up_are_kept(monkeypatch):
    """Where a validation part has seen a good epoch, a diverged training warns and goes back to it."""
    from skbert._training.stack import Stack

    epoch, seen = Stack.epoch, []

    def blow_up(stack):
        seen.append(epoch(stack))
        return seen[-1] if len(seen) <= 6 else [np.nan]

    monkeypatch.setattr(Stack, "epoch", blow_up)
    with pytest.warns(SkbertWarning, match="no longer a finite number in epoch .* The weights of epoch .* are kept"):
        head = quick().fit(X, Y)
    assert np.isfinite(head.predict_proba(X)).all()


# ---- going on ------------------------------------------------------------------------------------------------------


def test_warm_start_goes_on():
    """A warm start begins where the last fit ended: with no learning left, predictions stay the same."""
    head = quick(max_iter=30, early_stopping=False).fit(X, Y)
    before = head.predict_proba(X)
    head.set_params(warm_start=True, learning_rate_init=1e-12, max_iter=1).fit(X, Y)
    np.testing.assert_allclose(head.predict_proba(X), before, atol=1e-5)
    cold = clone(head).fit(X, Y)
    assert log_loss(Y, head.predict_proba(X)) < log_loss(Y, cold.predict_proba(X)) - 0.1


def test_warm_start_on_shifted_rows_keeps_the_function():
    """New rows bring another mean and scale; the first layer is rewritten so that predictions stay."""
    head = quick(max_iter=30, early_stopping=False).fit(X, Y)
    before = head.predict_proba(X)
    head.set_params(warm_start=True, learning_rate_init=1e-12, max_iter=1).fit(3 * X + 5, Y)
    assert np.abs(head.mean_ - 5).max() < 5
    np.testing.assert_allclose(head.predict_proba(X), before, atol=1e-4)


def test_warm_start_needs_the_same_classes_and_shape():
    """What cannot be gone on from is refused with the way out."""
    head = quick(warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"needs the same classes. That fit had \[0, 1, 2\], y has \[0, 1\]"):
        head.fit(X[Y < 2], Y[Y < 2])
    with pytest.raises(ValueError, match="n_heads has changed"):
        head.set_params(n_heads=2).fit(X, Y)
    with pytest.raises(ValueError, match="X has 5 features, but HeadClassifier is expecting 12"):
        head.set_params(n_heads=1).fit(X[:, :5], Y)


def test_partial_fit_learns_from_parts():
    """Many small parts, some with one class only, add up to a good classifier."""
    head = quick()
    for epoch in range(8):
        order = np.argsort(Y, kind="stable") if epoch == 0 else np.random.RandomState(epoch).permutation(300)
        for part in np.array_split(order, 6):
            head.partial_fit(X[part], Y[part], classes=[0, 1, 2])
    assert head.n_iter_ == len(head.loss_curve_) == 48
    assert head.score(X, Y) > 0.7


def test_partial_fit_sees_the_columns_of_all_parts():
    """After parts, mean and scale of the columns are those of all rows together."""
    head = quick()
    for part in np.array_split(np.arange(300), 7):
        head.partial_fit(X[part] * 4 + 100, Y[part], classes=[0, 1, 2])
    scaler = StandardScaler().fit(X * 4 + 100)
    np.testing.assert_allclose(head.mean_, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(head.scale_, scaler.scale_, rtol=1e-9)


def test_partial_fit_of_all_rows_is_an_epoch():
    """One call to partial_fit is one epoch, and a pickle between two calls changes nothing."""
    one, other = (quick().partial_fit(X, Y, classes=[0, 1, 2]) for _ in range(2))
    assert one.n_iter_ == 1
    one.partial_fit(X, Y)
    other = pickle.loads(pickle.dumps(other)).partial_fit(X, Y)
    assert_same(one, other)
    assert one.loss_curve_[1] < one.loss_curve_[0]


def test_partial_fit_checks_its_classes():
    """Classes are needed first, must stay the same, and must hold every label."""
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        quick().partial_fit(X, Y)
    head = quick().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"are not those of the call before, which were \[0, 1, 2\]"):
        head.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"labels \[7\] that are not among the classes"):
        head.partial_fit(X, np.where(Y == 2, 7, Y))
    for few in ([], [0]):
        with pytest.raises(ValueError, match=r"HeadClassifier must be all labels .*, at least 2 .* Got \[0?\] instead"):
            quick().partial_fit(X, Y, classes=few)
    must = "The 'class_weight' parameter of HeadClassifier must be None or a dict .* for partial_fit"
    with pytest.raises(InvalidParameterError, match=f"{must}.* Got 'balanced' instead"):
        quick(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_partial_fit_goes_on_after_fit():
    """After fit, partial_fit needs no classes and counts on."""
    head = quick().fit(X, Y)
    epochs = head.n_iter_
    head.partial_fit(X[:50], Y[:50])
    assert (head.n_iter_, len(head.loss_curve_)) == (epochs + 1, epochs + 1)


@pytest.mark.parametrize("absent", [None, np.nan, float("nan"), pd.NA], ids=str)
@pytest.mark.parametrize("container", [lambda y: y, pd.Series, list], ids=["array", "Series", "list"])
def test_missing_labels_are_refused_by_their_rows(absent, container):
    """They cannot be sorted among labels of text, and scikit-learn's words for it name no row."""
    y = np.array(["a", "b", "c"], dtype=object)[Y]
    y[[3, 7]] = absent
    with pytest.raises(
        ValueError, match=r"^Input contains NaN.* HeadClassifier found 2 missing .* row\(s\) 3, 7\. Drop"
    ):
        quick().fit(X, container(y))
