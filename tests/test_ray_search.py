"""Searches of scikit-learn whose fits run in the workers of a Ray cluster, through joblib, beside the plain ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.pool import PicklingPool
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skbert import BertEmbedder, HeadClassifier, HeadSearchCV, cache_info
from tests._counting import CountingEmbedder, labels, logged, made_up
from tests._ray import local_cluster
from tests.test_workers import told

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

EXAMPLE = Path(__file__).parents[1] / "examples" / "search_on_ray.py"
FOLDS, N = 3, 60
# Workers compute with one thread, this process with as many as it likes.
NOISE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def ray_backend():
    """Start a cluster of two processes that joblib knows as "ray"; leave joblib's own pools as they were."""
    from ray.util.joblib import register_ray

    bases = PicklingPool.__bases__  # the backend puts Ray's pool in their place, and does not take it back
    with local_cluster():
        register_ray()
        try:
            yield
        finally:
            PicklingPool.__bases__ = bases


@pytest.fixture(scope="module")
def data():
    """Return texts, with copies among them, and labels."""
    texts = made_up(N)
    texts += texts[: N // 3]
    return texts, labels(texts)


class Rival(LogisticRegression):
    """Remembers in which process it was fitted."""

    def fit(self, X, y):
        super().fit(X, y)
        self.process_ = os.getpid()
        return self


def process_of(estimator, X, y):
    """Score with the process that scores, which in a GridSearchCV is the one that fits."""
    return os.getpid()


def process_of_rival(estimator, X, y):
    """Score with the process that the last step was fitted in, where it remembers that."""
    return getattr(estimator[-1], "process_", os.getpid())


def search_of(kind, estimator, grid, process=process_of):
    """Return a search that tells scores finely, and processes as if they were scores."""
    scoring = {"accuracy": "accuracy", "log_loss": "neg_log_loss", "process": process}
    return kind(estimator, grid, cv=FOLDS, scoring=scoring, refit="log_loss", return_train_score=True)


def fit_on_ray(search, X, y):
    """Fit a search as docs/guide/searching_on_clusters.md says."""
    with joblib.parallel_config("ray"):
        return search.set_params(n_jobs=-1).fit(X, y)


def processes(search):
    """Return the processes of all fits: an array (n_splits, n_candidates)."""
    return np.array([search.cv_results_[f"split{fold}_test_process"] for fold in range(FOLDS)]).astype(int)


def assert_same_search(found, expected):
    """Compare all that a search learned but the times and the processes."""
    assert list(found.cv_results_) == list(expected.cv_results_)
    compared = 0
    for name, theirs in expected.cv_results_.items():
        if name.endswith(("_accuracy", "_log_loss")):
            np.testing.assert_allclose(found.cv_results_[name], theirs, rtol=NOISE, atol=NOISE, err_msg=name)
            compared += 1
        elif name == "params" or name.startswith("param_"):
            assert repr(found.cv_results_[name]) == repr(theirs), name
    assert compared == 2 * (
        2 * (FOLDS + 2) + 1
    )  # of two scores the splits, mean and spread of both parts, and the rank
    assert len(np.unique(expected.cv_results_["mean_test_log_loss"])) == len(expected.cv_results_["params"])
    assert repr(found.best_params_) == repr(expected.best_params_)
    assert found.best_index_ == expected.best_index_
    assert found.best_score_ == pytest.approx(expected.best_score_, rel=NOISE)


def test_a_pipeline_with_a_folder_embeds_each_text_once_over_all_workers(data, tiny_bert_folder, tmp_path):
    """Scores are those of the plain search; the fits ran in Ray's workers, and each different text once in one."""
    texts, y = data
    cache = str(tmp_path / "vectors")
    embedder = CountingEmbedder(tiny_bert_folder, cache=cache, device="cpu")
    pipe = Pipeline([("embed", embedder), ("classify", LogisticRegression(max_iter=1000))])
    head = HeadClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    grid = [{"classify__C": [0.01, 1.0, 100.0]}, {"classify": [head], "classify__weight_decay": [0.5, 5.0]}]

    found = fit_on_ray(search_of(GridSearchCV, pipe, grid), texts, y)
    workers = set(processes(found).flat)
    assert len(workers) == 2
    assert os.getpid() not in workers
    counts = logged(cache)
    assert {pid for pid, _ in counts} == workers | {os.getpid()}  # the refit is done here
    assert sum(n for pid, n in counts if pid in workers) == sum(n for _, n in counts) == N
    assert cache_info(cache).misses == N

    # What the workers left is what this process makes, all at once and without a store.
    ours = BertEmbedder(tiny_bert_folder, cache=None, device="cpu").transform(texts)
    np.testing.assert_allclose(embedder.transform(texts), ours, rtol=0, atol=NOISE * max(1, abs(ours).max()))

    # So the plain search is over the same vectors, to the bit. Of others, no farther away than rounding, lbfgs stops at
    # another step, and a head, which draws by the bits of its rows, has another validation part.
    plain = search_of(GridSearchCV, pipe, grid).fit(texts, y)
    assert set(processes(plain).flat) == {os.getpid()}
    assert sum(n for _, n in logged(cache)) == N
    assert_same_search(found, plain)
    np.testing.assert_allclose(found.predict_proba(texts), plain.predict_proba(texts), rtol=0, atol=NOISE)


def test_vectors_made_once_are_searched_without_an_encoder(data, tiny_bert_folder):
    """The scores are those of the plain search, though what arrives in the workers is read-only."""
    texts, y = data
    vectors = BertEmbedder(tiny_bert_folder, device="cpu", cache=None).transform(texts)
    head = HeadClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    grid = {"weight_decay": [0.5, 5.0], "dropout": [0.0, 0.5]}
    found = fit_on_ray(search_of(GridSearchCV, head, grid), vectors, y)
    assert os.getpid() not in processes(found)
    plain = search_of(GridSearchCV, head, grid).fit(vectors, y)
    assert set(processes(plain).flat) == {os.getpid()}
    assert_same_search(found, plain)


def test_heads_are_trained_together_here_and_rivals_in_the_workers(data, tiny_bert_folder, tmp_path):
    """Of a HeadSearchCV only what is fitted singly goes to the workers; the scores are those without them."""
    texts, y = data
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", cache=str(tmp_path))
    head = HeadClassifier(hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    pipe = Pipeline([("embed", embedder), ("classify", head)])
    grid = [{"classify__weight_decay": [0.5, 5.0]}, {"classify": [Rival(max_iter=1000)]}]
    found = fit_on_ray(search_of(HeadSearchCV, pipe, grid, process_of_rival), texts, y)
    plain = search_of(HeadSearchCV, pipe, grid, process_of_rival).fit(texts, y)
    assert set(processes(found)[:, :2].flat) == {os.getpid()}
    assert os.getpid() not in processes(found)[:, 2]
    assert set(processes(plain).flat) == {os.getpid()}
    assert_same_search(found, plain)


def test_a_worker_with_its_own_memory_is_told_once(tiny_bert_folder):
    """As joblib's own workers are; this process, which asks Ray for workers, is none."""
    with joblib.parallel_config("ray"):
        calls = [["a", "b"], ["c"]]
        heard = joblib.Parallel(n_jobs=2)(joblib.delayed(told)(tiny_bert_folder, "memory", calls) for _ in range(2))
    for first, second in heard:
        (message,) = first
        assert "worker" in message
        assert "cache='some/folder'" in message
        assert second == []
    assert told(tiny_bert_folder, "memory", calls) == [[], []]


def test_the_example_runs_from_end_to_end(minilm, tmp_path):
    """In an interpreter and on a cluster of its own it ends well, says so, and leaves no file."""
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout.count("the same scores as without Ray: True") == 2
    assert "CacheWarning" not in done.stderr
    assert list(folder.iterdir()) == []
