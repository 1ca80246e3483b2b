"""Laws of ``skbert._head.together``: heads fitted at once are those fitted one by one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, ParameterGrid

from skbert import HeadClassifier
from skbert._head.together import Job, fit_together
from skbert.exceptions import InvalidParameterError, ValidationSplitWarning

RNG = np.random.RandomState(0)
X = RNG.randn(150, 8).astype(np.float32)
Y = np.array(["bad", "fair", "good"])[(X[:, :3] + 0.5 * RNG.randn(150, 3)).argmax(axis=1)]
WEIGHT = RNG.uniform(0.2, 3.0, 150)
GRID = {
    "hidden_layer_sizes": [(), (16,)],
    "dropout": [0.0, 0.5],
    "weight_decay": [0.1, 5.0],
    "class_weight": [None, "balanced"],
}


def make_heads(grid=GRID, **params):
    """Return a head for each point of the grid."""
    common = {"random_state": 0, "learning_rate_init": 0.01, "batch_size": 32, "device": "cpu"} | params
    return [HeadClassifier(**(common | point)) for point in ParameterGrid(grid)]


def make_jobs(heads, weighted=False):
    """Return a job for each of three folds."""
    return [
        Job([clone(head) for head in heads], X[train], Y[train], WEIGHT[train] if weighted else None)
        for train, _ in KFold(3).split(X)
    ]


def assert_like_single_fits(jobs):
    """Assert that each head is, to rounding, what its own fit makes of it."""
    for job in jobs:
        for head in job.heads:
            single = clone(head).fit(job.X, job.y, job.sample_weight)
            assert (head.n_iter_, head.best_iter_) == (single.n_iter_, single.best_iter_)
            np.testing.assert_allclose(head.predict_proba(X), single.predict_proba(X), atol=1e-4)
            np.testing.assert_allclose(head.loss_curve_, single.loss_curve_, rtol=1e-3)
            assert set(vars(head)) == set(vars(single))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("params", [{}, {"n_heads": 3}, {"early_stopping": False, "max_iter": 5}])
def test_each_head_is_what_its_own_fit_makes_of_it(params, weighted):
    """Over folds, shapes, dropouts, decays and class weights, with and without a validation part."""
    jobs = make_jobs(make_heads(**params), weighted)
    outcomes = fit_together(jobs)
    assert all(outcome.error is None and outcome.seconds > 0 for made in outcomes for outcome in made)
    assert_like_single_fits(jobs)


def test_what_splits_rows_differently_is_not_mixed_up():
    """Heads with other seeds, validation fractions and batch sizes keep them; one that watches its own time does."""
    grid = {"random_state": [0, 7], "validation_fraction": [0.1, 0.3], "batch_size": [16, 64], "max_iter": [2, 50]}
    jobs = make_jobs(make_heads(grid))
    fit_together(jobs)
    assert_like_single_fits(jobs)


def test_a_generator_as_random_state_is_taken_where_it_stands():
    """Each head has a copy of the generator, as clones have, and each is what its own fit makes of it."""
    heads = make_heads({"dropout": [0.1, 0.5]}, random_state=np.random.RandomState(3))
    jobs = [Job([clone(head) for head in heads], X, Y)]
    alone = [clone(head).fit(X, Y) for head in heads]
    fit_together(jobs)
    for head, single in zip(jobs[0].heads, alone, strict=True):
        np.testing.assert_allclose(head.predict_proba(X), single.predict_proba(X), atol=1e-4)


def test_without_a_seed_the_heads_of_a_job_share_one():
    """Two like heads are the same then, and another call draws another seed."""
    jobs = [Job(make_heads({"tol": [1e-4, 1e-4]}, random_state=None), X, Y) for _ in range(2)]
    fit_together(jobs)
    probabilities = [[head.predict_proba(X) for head in job.heads] for job in jobs]
    np.testing.assert_array_equal(*probabilities[0])
    assert not np.allclose(probabilities[0][0], probabilities[1][0])


def test_the_same_call_gives_the_same_bits():
    """With an int as seed, on a CPU with the same number of threads."""
    first, second = make_jobs(make_heads()), make_jobs(make_heads())
    fit_together(first)
    fit_together(second)
    for a, b in zip(first, second, strict=True):
        for one, other in zip(a.heads, b.heads, strict=True):
            np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_an_error_is_that_of_the_one_head():
    """A wrong parameter, a wrong class weight or a loss that blows up stays with its head; the others are fitted."""
    wrong = [{"dropout": 2.0}, {"class_weight": {"bad": 0.0, "fair": 0.0, "good": 0.0}}, {"learning_rate_init": 1e38}]
    heads = [head.set_params(**change) for head, change in zip(make_heads({"tol": [1e-4] * 3}), wrong, strict=True)]
    good = make_heads({"dropout": [0.0, 0.5]})
    job = Job([good[0], *heads, good[1]], X, Y)
    (made,) = fit_together([job])
    kinds = [InvalidParameterError, InvalidParameterError, ValueError]
    assert [type(outcome.error) for outcome in made] == [type(None), *kinds, type(None)]
    for head, outcome in zip(job.heads, made, strict=True):
        if outcome.error is not None:
            with pytest.raises(type(outcome.error)) as caught:
                clone(head).fit(X, Y)
            assert str(caught.value).partition(" in epoch")[0] == str(outcome.error).partition(" in epoch")[0]
            assert not hasattr(head, "coefs_")
    assert_like_single_fits([Job(good, X, Y)])


def test_wrong_rows_are_the_error_of_every_head_of_the_job():
    """The other jobs are fitted."""
    jobs = make_jobs(make_heads({"dropout": [0.0, 0.5]}))
    jobs[1] = jobs[1]._replace(X=np.full_like(jobs[1].X, np.nan))
    outcomes = fit_together(jobs)
    assert [[outcome.error is None for outcome in made] for made in outcomes] == [[True] * 2, [False] * 2, [True] * 2]
    assert "NaN" in str(outcomes[1][0].error)


def test_names_of_columns_reach_every_head():
    """A frame's names are those of all heads, and predicting with other names is refused as always."""
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])])
    job = Job(make_heads({"dropout": [0.0, 0.5]}), frame, Y)
    fit_together([job])
    for head in job.heads:
        assert (head.n_features_in_, list(head.feature_names_in_)) == (8, list(frame.columns))


def test_a_warm_start_is_fitted_by_itself():
    """It goes on from its own weights."""
    warm = make_heads({"warm_start": [True]}, max_iter=3, early_stopping=False)[0].fit(X, Y)
    expected = HeadClassifier(**warm.get_params())
    expected.__dict__.update(vars(warm))
    fit_together([Job([*make_heads({"dropout": [0.5]}), warm], X, Y)])
    np.testing.assert_array_equal(warm.predict_proba(X), expected.fit(X, Y).predict_proba(X))


def test_a_class_too_small_for_a_split_is_warned_of():
    """As in fit, and training goes on for all epochs."""
    few = np.append(np.flatnonzero(Y != "good"), np.flatnonzero(Y == "good")[:1])
    job = Job(make_heads({"dropout": [0.0, 0.5]}, max_iter=4), X[few], Y[few])
    with pytest.warns(ValidationSplitWarning, match="'good' \\(1\\)"):
        fit_together([job])
    assert [head.n_iter_ for head in job.heads] == [4, 4]


def test_an_interrupt_is_raised(monkeypatch):
    """Ctrl-C ends the call, and what was not over is not fitted."""
    from skbert._training.stack import Stack

    def interrupt(stack):
        raise KeyboardInterrupt

    monkeypatch.setattr(Stack, "epoch", interrupt)
    job = Job(make_heads({"dropout": [0.0, 0.5]}), X, Y)
    with pytest.raises(KeyboardInterrupt):
        fit_together([job])
    assert not any(hasattr(head, "coefs_") for head in job.heads)


def test_verbose_draws_one_bar(capsys):
    """It counts the epochs of all heads."""
    job = Job(make_heads({"dropout": [0.0, 0.5]}, verbose=1, max_iter=3, early_stopping=False), X, Y)
    fit_together([job])
    error = capsys.readouterr().err
    assert "2 heads: 6epoch" in error
