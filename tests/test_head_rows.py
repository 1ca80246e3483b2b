"""Laws of the head's rows and weights: copies merged, the validation part, standardisation, the way back to numpy."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from skbert._head import rows, weights
from skbert._training import initialise, log_proba


def merged(group, y, weight=None):
    """Return what merge_copies would return for rows with these groups and labels."""
    group, y = np.asarray(group), np.asarray(y)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
    return rows.Merged(np.arange(len(y)), y, weight, group)


def test_keys_are_equal_where_rows_are_equal():
    """Equal numbers have equal keys in either dtype and layout, -0.0 is 0.0, and the last bit makes a difference."""
    X = np.array([[1.5, 0.0], [1.5, -0.0], [1.5, 1e-45], [1.5, 0.0]], dtype=np.float32)
    keys = rows.row_keys(X)
    assert keys[0] == keys[1] == keys[3] != keys[2]
    np.testing.assert_array_equal(keys, rows.row_keys(X.astype(np.float64)))
    np.testing.assert_array_equal(keys, rows.row_keys(np.asfortranarray(X)))


def test_keys_tell_rows_apart_that_are_equal_in_float32():
    """Rows that differ beyond the digits, or the range, of float32 are not taken for copies."""
    X = np.array([[1e8], [1e8 + 1], [1e300], [1e301]])
    assert np.float32(X[0, 0]) == np.float32(X[1, 0])
    assert len(np.unique(rows.row_keys(X))) == 4


def test_copies_are_merged_and_weights_added():
    """Equal rows with one label become one, with the sum of the weights; another label is kept apart."""
    X = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [1.0, 2.0]])
    found = rows.merge_copies(X, np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 0.5, 4.0]))
    seen = {(*X[i], int(label)): weight for i, label, weight in zip(found.rows, found.y, found.weight, strict=True)}
    assert seen == {(1.0, 2.0, 0): 1.5, (1.0, 2.0, 1): 4.0, (3.0, 4.0, 1): 2.0}
    groups = dict(zip(X[found.rows][:, 0], found.group, strict=True))
    assert len(found.group) == 3
    assert len(set(groups.values())) == len(np.unique(found.group)) == 2


def test_merging_does_not_depend_on_the_order_of_rows():
    """Shuffled rows are merged to the same rows in the same order."""
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 3, (200, 3)).astype(float), rng.randint(0, 2, 200)
    order = rng.permutation(200)
    one, other = rows.merge_copies(X, y, np.ones(200)), rows.merge_copies(X[order], y[order], np.ones(200))
    np.testing.assert_array_equal(X[one.rows], X[order][other.rows])
    for name in ("y", "weight", "group"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_validation_part_is_stratified_and_of_the_right_size(fraction, seed):
    """Of each class, the asked share of the weight is chosen, up to the weight of a row."""
    rng = np.random.RandomState(seed)
    y = rng.choice(3, 1000, p=[0.7, 0.2, 0.1])
    weight = rng.randint(1, 4, 1000)
    chosen, too_small = rows.split_off(merged(np.arange(1000), y, weight), fraction, rng)
    assert not len(too_small)
    for label in range(3):
        total = weight[y == label].sum()
        assert abs(weight[chosen & (y == label)].sum() - fraction * total) <= 2


def test_copies_are_on_one_side():
    """Rows of one group, whatever their labels, are all chosen or not at all."""
    rng = np.random.RandomState(0)
    group = np.sort(rng.randint(0, 60, 300))
    chosen, too_small = rows.split_off(merged(group, rng.randint(0, 2, 300)), 0.3, rng)
    assert not len(too_small)
    assert 0 < chosen.sum() < 300
    for name in np.unique(group):
        assert len(np.unique(chosen[group == name])) == 1


def test_one_heavy_row_is_not_the_whole_validation_part():
    """A row with a thousand copies goes to the training part, where it does not fit into the other."""
    weight = np.r_[1000.0, np.ones(200)]
    for seed in range(20):
        chosen, _ = rows.split_off(merged(np.arange(201), np.zeros(201, int), weight), 0.1, np.random.RandomState(seed))
        assert not chosen[0]
        assert 100 <= chosen.sum() <= 200


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_two_rows_of_a_class_are_divided(fraction):
    """With two rows a class, one is chosen and one is left, whatever the fraction."""
    chosen, too_small = rows.split_off(merged(np.arange(4), [0, 0, 1, 1]), fraction, np.random.RandomState(0))
    assert not len(too_small)
    assert chosen[:2].sum() == chosen[2:].sum() == 1


@pytest.mark.parametrize(
    ("group", "y", "expected"),
    [
        ([0, 1, 2, 3], [0, 0, 0, 1], [1]),  # one row of class 1
        ([0, 0, 1, 1], [0, 1, 0, 1], []),  # conflicting labels, but two rows of each
        ([0, 1], [0, 1], [0, 1]),
    ],
)
def test_classes_too_small_for_a_split_are_named(group, y, expected):
    """A class that can't be on both sides is given back; any other split leaves every class in the training part."""
    chosen, too_small = rows.split_off(merged(group, y), 0.5, np.random.RandomState(0))
    found = [] if not expected and set(np.asarray(y)[~chosen]) == set(y) else too_small.tolist()
    assert found == expected


def test_moments_are_weighted_and_add_up(monkeypatch):
    """Mean and scale are those of StandardScaler, in pieces as well as at once, and of two parts together."""
    monkeypatch.setattr(rows, "_CHUNK_BYTES", 400)
    rng = np.random.RandomState(0)
    X, weight = rng.randn(90, 4) * [1, 10, 0.1, 3] + [0, 1e6, 5, -2], rng.rand(90) + 0.1
    scaler = StandardScaler().fit(X, sample_weight=weight)
    every = rows.measure(X, np.arange(90), weight)
    parts = [rows.measure(X, part, weight[part]) for part in np.array_split(np.arange(90), 3)]
    for moments in (every, parts[0] + parts[1] + parts[2]):
        np.testing.assert_allclose(moments.mean, scaler.mean_, rtol=1e-12)
        np.testing.assert_allclose(moments.scale, scaler.scale_, rtol=1e-8)
    Z = rows.standardise(X, np.arange(90), every)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z, scaler.transform(X), rtol=1e-5, atol=1e-6)


def test_constant_columns_are_left_unscaled():
    """A column that does not vary, however large, has the scale 1 and becomes 0."""
    X = np.tile(np.float32([0.1, 1e7, 0.0]), (50, 1))
    moments = rows.measure(X, np.arange(50), np.full(50, 0.3))
    np.testing.assert_array_equal(moments.scale, 1.0)
    np.testing.assert_allclose(rows.standardise(X, np.arange(50), moments), 0, atol=1e-6)


def test_columns_far_from_zero_keep_their_digits():
    """A small spread on a large offset survives, since the mean is taken off in float64."""
    X = 1e9 + np.arange(20, dtype=float)[:, None]
    moments = rows.measure(X, np.arange(20), np.ones(20))
    np.testing.assert_allclose(rows.standardise(X, np.arange(20), moments).std(), 1, rtol=1e-6)


def test_rebased_weights_answer_as_before():
    """Weights rewritten for another standardisation give the same probabilities for the same rows."""
    rng = np.random.RandomState(0)
    X = rng.randn(30, 4)
    coefs, intercepts = weights.network_arrays(initialise((4, 8, 3), 2, seed=0))
    old = rows.measure(X, np.arange(10), np.ones(10))
    new = rows.measure(5 * X + 3, np.arange(30), np.ones(30))
    before = weights.log_proba(coefs, intercepts, X, old.mean, old.scale)
    after = weights.log_proba(*weights.rebase(coefs, intercepts, old, new), X, new.mean, new.scale)
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_column_that_was_constant_keeps_its_weights():
    """Its weights come from the first draw, for a spread of one; the spread it turns out to have is not put on them."""
    X = np.c_[np.arange(10.0), np.zeros(10)]
    coefs, intercepts = weights.network_arrays(initialise((2, 8, 3), 1, seed=0))
    old = rows.measure(X, np.arange(10), np.ones(10))
    new = old + rows.measure(X + np.array([0, 1000]), np.arange(10), np.ones(10))
    rebased = weights.rebase(coefs, intercepts, old, new)
    np.testing.assert_array_equal(rebased[0][0][0, 1], coefs[0][0, 1])
    before = weights.log_proba(coefs, intercepts, X, old.mean, old.scale)
    np.testing.assert_allclose(weights.log_proba(*rebased, X, new.mean, new.scale), before, atol=1e-5)


def test_numpy_forward_is_that_of_torch():
    """Predictions in numpy are those of the network that was trained."""
    X = np.random.RandomState(0).randn(40, 5)
    network = initialise((5, 8, 6, 3), 3, seed=0)
    moments = rows.measure(X, np.arange(40), np.ones(40))
    expected = log_proba(network, torch.from_numpy(rows.standardise(X, np.arange(40), moments)))
    found = weights.log_proba(*weights.network_arrays(network), X, moments.mean, moments.scale)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
