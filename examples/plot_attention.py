"""
===============================================
Where does "it" look? Attention in a small BERT
===============================================

In "He poured water from the bottle into the cup until it was full", *it* is the cup. In "... until it was empty" it
is the bottle. One word at the end tells which. This sentence is often shown with a picture of attention in which *it*
looks at the right noun. Does a real model show that? Here every head of every layer is asked, not one that was picked.

all-MiniLM-L6-v2 is a small BERT with 6 layers of 12 heads. In each head every piece of the text shares out 1 of
attention among all pieces. :func:`skbert.inspection.attention` returns these weights, and
:class:`skbert.inspection.AttentionDisplay` draws them.
"""

# %%
# The weights
# -----------
# A layer and a head are numbered from 0. The map keeps to the words of the text as it was given.

import matplotlib.pyplot as plt
import numpy as np

from skbert import BertEmbedder
from skbert.inspection import AttentionDisplay, attention

# sphinx_gallery_thumbnail_number = 4

embedder = BertEmbedder("all-MiniLM-L6-v2")
SENTENCE = "He poured water from the bottle into the cup until it was {}."
full, empty = (attention(SENTENCE.format(word), embedder) for word in ("full", "empty"))
print(full)
print("weights", full.weights.shape, full.weights.dtype)

# %%
# What a piece looks at most is ``[CLS]``
# ---------------------------------------
# The mean over all heads says little about language. Nearly half of the attention goes to ``[CLS]``, the mark before
# the text. In BERT base it is mostly ``[SEP]`` [1]_. It seems that a head which finds nothing to do looks there.

mean = full.to_frame()
print("of all attention")
for piece in ("[CLS]", "[SEP]"):
    print(f"  {piece} gets {mean[piece].mean():.0%}")
for layer in full.layers:
    share = full.to_frame(layer=layer)["[CLS]"].mean()
    print(f"  layer {layer}: [CLS] gets {share:.0%}")
AttentionDisplay.from_map(full)
plt.show()

# %%
# The head that looks from "it" to "cup"
# --------------------------------------
# ``by_head`` asks each of the 72 heads how much *it* looks at the cup.

AttentionDisplay.from_map(full, word="it", other="cup")
plt.show()

# %%
# One head stands out. This is the picture that is often shown, and it is a convincing one: of all words, *it* looks at
# the cup most. (``special_tokens=False`` would leave out ``[CLS]`` and ``[SEP]``, so that they no longer set the
# scale.)

table = full.by_head("it", "cup")
layer, head = (int(number) for number in table.stack().idxmax())
AttentionDisplay.from_map(full, word="it", layer=layer, head=head)
plt.show()

# %%
# The same head, when the bottle is empty
# ---------------------------------------
# Now *it* is the bottle. If the head knew, it would look elsewhere.

print(f"layer {layer}, head {head}: how much 'it' looks at")
for word, seen in (("full", full), ("empty", empty)):
    bottle, cup = (seen.by_head("it", noun).loc[layer, head] for noun in ("bottle", "cup"))
    print(f"  ... until it was {word:6} the bottle {bottle:.2f}, the cup {cup:.2f}")

# %%
# It looks at the cup as before. Had we drawn the first sentence only, we would have told a fine story, and a wrong one.
#
# All heads, and more than one sentence
# -------------------------------------
# A head that follows the meaning must look more at the vessel that fills when it is *full* than when it is *empty*, in
# comparison with the other vessel. With five sentences, does one of the 72 do so in all?

CASES = {
    ("bottle", "cup"): SENTENCE,
    ("jug", "glass"): "She poured milk from the jug into the glass until it was {}.",
    ("tank", "can"): "They pumped petrol from the tank into the can until it was {}.",
    ("bucket", "box"): "I tipped sand from the bucket into the box until it was {}.",
    ("barrel", "keg"): "We moved beer from the barrel into the keg until it was {}.",
}


def lean(seen, source, target):
    """Return how much more "it" looks at the target than at the source, in each head."""
    return seen.by_head("it", target) - seen.by_head("it", source)


def shift_of(text, source, target):
    """Return how much more each head leans to the target by the last word "full"."""
    full, empty = (attention(text.format(word), embedder) for word in ("full", "empty"))
    return lean(full, source, target) - lean(empty, source, target)


shifts = np.array([shift_of(text, *nouns) for nouns, text in CASES.items()])
always = (shifts > 0).all(axis=0)
by_chance = 72 / 2 ** len(CASES)
print(f"mean shift of all heads: {shifts.mean():+.4f} of an attention of 1")
print(f"heads of 72 that shift the right way in all {len(CASES)} sentences: {always.sum()}")
print(f"  if they were coins: {by_chance:.0f}")
print(f"  the largest mean shift among them: {shifts.mean(axis=0)[always].max():+.4f}")
layer, head = np.unravel_index(shifts.mean(axis=0).argmax(), shifts.shape[1:])
of_head = " ".join(f"{shift:+.3f}" for shift in shifts[:, layer, head])
print(f"largest of all: layer {layer}, head {head}: {of_head}")

# %%
# The points are the five sentences, one row a layer. To the right of the line a head shifts as the meaning does.

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
spread = np.linspace(-0.32, 0.32, 12)
for shift, nouns, mark, colour in zip(shifts, CASES, "os^Dv", colours, strict=True):
    rows = np.repeat(np.arange(len(shift)), 12) + np.tile(spread, len(shift))
    ax.scatter(shift.ravel(), rows, s=16, marker=mark, color=colour, label=", ".join(nouns))
ax.axvline(0, color="0.3", linewidth=1)
ax.set(
    xlabel="shift of “it” to the vessel that fills, full minus empty",
    ylabel="layer (its 12 heads side by side)",
    yticks=range(len(full.layers)),
)
ax.set_title("Heads that shift far do not do so in every sentence", fontsize=10)
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, fontsize=8, loc="upper right")
plt.show()

# %%
# Two sentences as a pair
# -----------------------
# A pair goes through BERT as segments A and B, with ``[SEP]`` between. Attention crosses it: *it* in the second
# sentence looks back into the first. all-MiniLM-L6-v2 was not trained on pairs, so this shows the mechanism only.

two = ("He poured water from the bottle into the cup.", "Then it was full.")
pair = attention(two, embedder)
looks = pair.looks_at("it")
first = [side == 0 for side in pair.sides]
given = pair.to_frame().to_numpy()[pair.pieces.index("it")]
print("sides", pair.sides.tolist())
print(f"'it' gives {given[first].sum():.0%} to the first sentence,")
print(f"{given[pair.sides == 1].sum():.0%} to its own")
print(looks[["bottle", "cup", "full"]].round(3).to_string())
AttentionDisplay.from_map(pair, word="it", special_tokens=False)
plt.show()

# %%
# What was seen
# -------------
# This model has heads in which *it* looks at a noun, and the one that does so most takes no notice of the meaning. The
# heads that shift the right way in all five sentences are more than coins would give, and do so by some thousandths of
# their attention. The head that shifts most has *it* look more at the vessel that fills in four sentences, and less in
# the fifth. That is a hint to follow over hundreds of sentences, and no finding: five are few, heads depend on each
# other, and of 72 some will always fit a story. It may be that the model is too small, that it was trained to compare
# sentences and not to resolve pronouns, or that what it knows is not in these weights.
#
# Use attention to see the mechanism, to find out where texts are cut into odd pieces, or to look for heads with a
# habit; and then count over many texts.
#
# When not to use it
# ------------------
# * *As an explanation of a decision.* Attention says what a head reads, not what the model makes of it; quite different
#   weights can lead to the same prediction [2]_. To learn which words a decision hangs on, change the words and look at
#   the decision: :func:`skbert.inspection.explain` does that.
# * *To find out what a pronoun stands for.* Take a model that was trained for coreference.
# * *To see what a text is cut into.* :func:`skbert.inspection.tokenize` shows that, without a pass through the model.
# * *From one sentence and one head.* Of 72 heads one will always fit. Count over many texts, and decide before which
#   head you look at.
#
# .. [1] Clark, K., Khandelwal, U., Levy, O. and Manning, C. D. (2019). What Does BERT Look At? An Analysis of BERT's
#    Attention. BlackboxNLP. https://aclanthology.org/W19-4828
# .. [2] Jain, S. and Wallace, B. C. (2019). Attention is not Explanation. NAACL. https://aclanthology.org/N19-1357
