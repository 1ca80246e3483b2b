"""The labelled corpora of the study of quality: their splits, and what a frozen BERT makes of their texts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _corpora import has_data, tweets
from sklearn.model_selection import GroupShuffleSplit

from skbert import BertEmbedder
from skbert._engine.sources import resolve_model
from skbert.datasets import load_gop_debate

MODEL = "all-MiniLM-L6-v2"
CORPORA = {"gop": "GOP tweets", "airline": "airline tweets", "imdb": "IMDB reviews", "mrpc": "MRPC pairs"}
# Small parts say little, and ask for more of them.
SEEDS = {"gop": 3, "airline": 3, "imdb": 10, "mrpc": 3}
ALL_LAYERS = tuple(range(7))  # the embedding layer and the six after it
LAST_FOUR = (3, 4, 5, 6)


class Corpus:
    """Texts with labels, split by text, and the vectors of these texts.

    Parameters
    ----------
    key : str
        One of `CORPORA`.
    cache : str
        Folder in which vectors are kept.
    count : int, default=None
        How many rows to take; None for all.
    """

    def __init__(self, key, cache, count=None):
        self.key, self.cache = key, Path(cache)
        self.what, texts, y, self.confidence = read_corpus(key)
        if count is not None and count < len(texts):
            rows = np.random.default_rng(0).permutation(len(texts))[:count]
            texts, y = [texts[row] for row in rows], y[rows]
            self.confidence = None if self.confidence is None else self.confidence[rows]
        self.y = y
        self.is_pairs = isinstance(texts[0], tuple)
        number = {}
        self.group = np.array([number.setdefault(text, len(number)) for text in texts])  # equal texts are a group
        self.distinct = list(number)
        self._vectors, self._states = {}, {}

    def splits(self, n_seeds, *, test):
        """Yield seed, rows to learn from and rows to score on: the inner ones, or with `test` those put away."""
        for seed in range(n_seeds):
            rows, put_away = _split(np.arange(len(self.y)), self.group, seed)
            yield (seed, rows, put_away) if test else (seed, *self.inner_split(rows, seed))

    def inner_split(self, rows, seed):
        """Split rows that are not put away into those to learn from and the validation part."""
        return _split(rows, self.group[rows], 100 + seed)

    def words(self):
        """Return the text of each row as one str, for models that count words."""
        texts = [" [SEP] ".join(text) for text in self.distinct] if self.is_pairs else self.distinct
        return np.array(texts, dtype=object)[self.group]

    def vectors(self, layers=LAST_FOUR, pooling="mean", *, normalize=True):
        """Return the vectors of the distinct texts, the layers side by side: take ``[group[rows]]`` of them."""
        if pooling not in self._vectors:
            embedder = BertEmbedder(
                *(MODEL,), layers=ALL_LAYERS, pooling=pooling, normalize=False, long_texts="truncate", device="cpu",
                cache=str(self.cache / "vectors"), store_layers="all",
            )  # fmt: skip
            self._vectors[pooling] = embedder.transform(self.distinct).reshape(len(self.distinct), len(ALL_LAYERS), -1)
        X = self._vectors[pooling][:, list(layers)]  # a copy
        if normalize:
            X /= np.linalg.norm(X, axis=2, keepdims=True)
        return X.reshape(len(X), -1)

    def states(self, layer):
        """Return the states of all tokens, text after text, in half precision, each text's first row, and its mean."""
        if layer not in self._states:
            file = self.cache / f"{self.what.replace(' ', '_')}_{len(self.distinct)}_states_{layer}.npz"
            if not file.exists():
                states, starts = _token_states(self.distinct, layer)
                np.savez(file, states=states, starts=starts)
            with np.load(file) as kept:
                states, starts = kept["states"], kept["starts"]
            means = np.add.reduceat(states, starts[:-1], axis=0, dtype=np.float32) / np.diff(starts)[:, None]
            self._states[layer] = torch.from_numpy(states), torch.from_numpy(starts), means
        return self._states[layer]

    def forget_states(self):
        """Give back the memory of token states."""
        self._states.clear()


def _split(rows, group, seed):
    split = GroupShuffleSplit(1, test_size=0.2, random_state=seed)
    learn, score = next(split.split(rows, groups=group))
    return rows[learn], rows[score]


def read_corpus(key):
    """Return what the texts are, texts, labels, and how sure the annotators were, which is None where unknown."""
    if not has_data():
        source, texts, y = tweets(None, copies=True)
        if key == "mrpc":  # pairs need a second text: the one before it
            texts = [(a, b) for a, b in zip(texts, [texts[-1], *texts[:-1]], strict=True)]
        return f"{source} for {key}", texts, y.astype(str), None
    if key == "gop":
        frame = load_gop_debate(as_frame=True).frame
        return CORPORA[key], frame["text"].tolist(), frame["sentiment"].to_numpy(str), _floats(frame, "sentiment")
    folder = Path(os.environ["SKBERT_DATA"])
    if key == "airline":
        frame = pd.read_csv(folder / "airline/Tweets.csv")
        y = frame["airline_sentiment"].to_numpy(str)
        return CORPORA[key], frame["text"].tolist(), y, _floats(frame, "airline_sentiment")
    if key == "imdb":
        frame = pd.read_csv(folder / "imdb/reviews.csv")
        return CORPORA[key], frame["text"].tolist(), frame["label"].to_numpy(str), None
    frame = pd.read_csv(folder / "mrpc/msr_paraphrase_train.txt", sep="\t", quoting=3, encoding="utf-8-sig")
    pairs = list(zip(frame["#1 String"], frame["#2 String"], strict=True))
    return CORPORA[key], pairs, frame["Quality"].to_numpy(str), None


def _floats(frame, label):
    return frame[f"{label}_confidence"].to_numpy(np.float64)


def _token_states(texts, layer):
    """Return the states of all tokens of a layer, float16 (tokens, 384), and where each text begins, (texts + 1,)."""
    from transformers import AutoModel, AutoTokenizer

    folder = resolve_model(MODEL).folder
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    lengths = np.array([len(ids) for ids in tokenizer(texts, truncation=True, max_length=256)["input_ids"]])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    states = np.empty((starts[-1], model.config.hidden_size), dtype=np.float16)
    order = np.argsort(lengths, kind="stable")
    with torch.inference_mode():
        for batch in np.array_split(order, -(-len(order) // 64)):
            pieces = tokenizer(
                [texts[i] for i in batch], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            found = model(**pieces, output_hidden_states=True).hidden_states[layer].numpy()
            for i, own in zip(batch, found, strict=True):
                states[starts[i] : starts[i + 1]] = own[: lengths[i]]
    return states, starts
