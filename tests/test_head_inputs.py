"""What HeadClassifier makes of wrong parameters and of wrong input. (What each does: test_every_parameter.py.)"""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import DataConversionWarning

from skbert._head import HeadClassifier
from skbert.exceptions import InvalidParameterError, ValidationSplitWarning
from tests.test_head import NAMES, X, Y, assert_same, quick


def test_verbose_draws_a_bar_on_stderr(capsys):
    """verbose=1 shows epochs and losses on stderr, verbose=0 nothing, and stdout stays clean."""
    quick(max_iter=2).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    quick(max_iter=2, verbose=1).fit(X, Y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err
    assert "validation loss" in err


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("hidden_layer_sizes", (0,), "a sequence of ints from 1 up or an int"),
        ("hidden_layer_sizes", "256", "a sequence of ints from 1 up or an int"),
        ("dropout", 1.0, r"a float in the range \[0, 1\)"),
        ("weight_decay", -1, r"a float in the range \[0, inf\)"),
        ("batch_size", 0, "an int in the range"),
        ("learning_rate_init", 0, r"a float in the range \(0, inf\)"),
        ("max_iter", 0, "an int in the range"),
        ("early_stopping", "yes", "a bool"),
        ("validation_fraction", 1.0, r"a float in the range \(0, 1\)"),
        ("n_iter_no_change", 0, "an int in the range"),
        ("tol", np.nan, r"a float in the range \[0, inf\)"),
        ("class_weight", "even", "None, a str among {'balanced', 'balanced_sqrt'} or a dict of class to weight"),
        ("class_weight", {0: -1.0}, "None, .* or a dict of class to weight, a finite number from 0 up"),
        ("class_weight", {0: np.nan}, "None, .* or a dict of class to weight, a finite number from 0 up"),
        ("class_weight", {0: np.inf}, "None, .* or a dict of class to weight, a finite number from 0 up"),
        ("class_weight", {0: "two"}, "None, .* or a dict of class to weight, a finite number from 0 up"),
        ("n_heads", 0, "an int in the range"),
        ("warm_start", 1, "a bool"),
        ("device", "gpu", "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"),
        ("random_state", "zero", "None, an int in the range .* or an instance of RandomState"),
        ("verbose", -1, "an int in the range"),
    ],
)
def test_wrong_parameters_are_refused(name, value, must):
    """A wrong value is named with what it must be, when the work starts and not before."""
    head = HeadClassifier(**{name: value})
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of HeadClassifier must be {must}"):
        head.fit(X, Y)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        head.partial_fit(X, Y, classes=[0, 1, 2])


def test_device_that_is_not_there(monkeypatch):
    """A GPU that torch does not see is an error that names the way out; "auto" goes without."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    for device, kind in [("cuda", "CUDA"), ("cuda:3", "CUDA"), ("mps", "MPS")]:
        must = (
            f"The 'device' parameter of HeadClassifier must be a device that is there, and torch sees no {kind} device"
        )
        with pytest.raises(InvalidParameterError, match=f"{must}. Got '{device}' instead. Use device='auto'"):
            quick(device=device).fit(X, Y)
    assert_same(quick(device="auto").fit(X, Y), quick(device="cpu").fit(X, Y))


@pytest.mark.gpu
def test_head_fitted_on_a_gpu_loads_anywhere():
    """A fit on a GPU leaves numpy behind and learns as well as one on a CPU."""
    head = quick(device="cuda", max_iter=100).fit(X, Y)
    assert all(type(value).__module__ != "torch" for value in vars(head).values())
    assert head.score(X, Y) > 0.8


def test_one_class_only_is_refused():
    """One class is an error that names it and what to do, also where weights leave one class."""
    with pytest.raises(ValueError, match=r"only one class: 'neutral' .*DummyClassifier"):
        quick().fit(X, np.full(300, "neutral"))
    with pytest.raises(ValueError, match="only one class: 1"):
        quick().fit(X, Y, sample_weight=Y == 1)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        (Y[:-1], "inconsistent numbers of samples"),
        (np.where(Y == 2, np.nan, Y), "Input y contains NaN"),
        (X[:, 0], "Unknown label type"),
        (np.c_[Y, Y], "y should be a 1d array"),
    ],
)
def test_wrong_targets_are_refused_in_scikit_learns_words(y, message):
    """A y that cannot be learned gives scikit-learn's own message."""
    with pytest.raises(ValueError, match=message):
        quick().fit(X, y)


def test_column_of_targets_is_taken_with_scikit_learns_warning():
    """A (n, 1) y is flattened with a DataConversionWarning."""
    with pytest.warns(DataConversionWarning, match="column-vector"):
        head = quick().fit(X, Y[:, None])
    assert head.predict(X).shape == (300,)


def test_feature_names_are_kept():
    """A data frame's columns become feature_names_in_, and other names at predict are refused."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(12)])
    head = quick().fit(frame, Y)
    np.testing.assert_array_equal(head.feature_names_in_, frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        head.predict(frame[frame.columns[::-1]])


def test_small_class_gives_up_the_split_with_a_warning():
    """A class with one distinct row, copies or not, is named with its count; training runs for max_iter epochs."""
    few = np.vstack([X, np.full((4, 12), 0.5)])
    y = np.r_[NAMES[Y], np.full(4, "odd")]
    with pytest.warns(ValidationSplitWarning, match=r"'odd' \(1\).*max_iter=15 epochs without early stopping"):
        head = quick().fit(few, y)
    assert head.n_iter_ == 15
    assert head.validation_loss_curve_ is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(early_stopping=False).fit(few, y)
