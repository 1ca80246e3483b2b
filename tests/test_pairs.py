"""Two sentences as one input of BERT, through embedder, classifier and scikit-learn's tools.

Beside these: containers of pairs in test_common*.py and test_texts.py, segments of all families in test_tokens.py and
test_packing.py, keys of pairs in test_keys.py.
"""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoTokenizer

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, TextCleaner
from skbert._engine.loading import load_tokenizer, probe_template
from skbert._engine.pieces import PieceMaker
from skbert._engine.sources import resolve_model
from skbert._engine.tokens import build_sequences
from skbert.exceptions import MissingTextError, TextInputError
from tests._inputs import PAIRED
from tests._models import WORDS
from tests._reference import padded_vectors, relative_difference

ROWS = [("who won", "nobody"), ("what a night", "the bat flies"), ("", "no"), ("all is well", ""), ("", "")]
ASKED = ["how was it", "did you like it", "was it good", "will you come again"]
GOOD = ["great fun", "very good", "i love it", "so happy", "the best night", "really strong"]
BAD = ["so boring", "very bad", "i hate it", "sad and wrong", "the worst night", "really awful"]
X = [(asked, told) for asked in ASKED for told in (*GOOD, *BAD)]
Y = np.array([word for _ in ASKED for word in ["good"] * len(GOOD) + ["bad"] * len(BAD)])


def words(count, seed=0):
    """Return a text of so many words, one piece each."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def embedder_of(folder, **params):
    return BertEmbedder(folder, **{"device": "cpu", "cache": None, "long_texts": "truncate", **params})


def classifier_of(folder, **params):
    head = {"hidden_layer_sizes": (16,), "max_iter": 100, "early_stopping": False, "learning_rate_init": 1e-2}
    return BertSentimentClassifier(embedder_of(folder, **params), **head, random_state=0, device="cpu")


# -- the input -----------------------------------------------------------------------------------------------------


def same_ids(model, pairs, limits):
    """Check ids and segments of pairs, fitted into each limit, against the tokenizer's own."""
    folder = str(resolve_model(model).folder)
    tokenizer, backend = AutoTokenizer.from_pretrained(folder), load_tokenizer(resolve_model(model))
    template, make = probe_template(backend, resolve_model(model)), PieceMaker(backend)
    sides = [make(list(side)) for side in zip(*pairs, strict=True)]
    for limit in limits:
        expected = tokenizer(
            *map(list, zip(*pairs, strict=True)), truncation="longest_first", max_length=limit,
            return_token_type_ids=True,
        )  # fmt: skip
        for k, (first, second) in enumerate(zip(*sides, strict=True)):
            (made,), cut = build_sequences(first, second, template, limit, "truncate")
            assert made.ids.tolist() == expected["input_ids"][k], (limit, pairs[k])
            segments = np.zeros(len(made.ids), int) if made.segments is None else made.segments
            assert segments.tolist() == expected["token_type_ids"][k], (limit, pairs[k])
            assert cut == max(0, len(first) + len(second) + template.n_special_pair - limit)


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])
def test_all_small_pairs_are_cut_as_transformers_cuts(tiny_model, family):
    """Longest first, for all pairs of 0 to 9 pieces a side and every limit that leaves room."""
    pairs = [(words(a), words(b, 1)) for a in range(10) for b in range(10)]
    same_ids(tiny_model(family), pairs, range(5, 24))


def test_real_pairs_are_cut_as_transformers_cuts(minilm):
    """The same with a real vocabulary: both sides long, one side long, one empty."""
    long, short = "Unbelievably, the moderators re-asked 17 questions! " * 60, "Nobody's café won."
    pairs = [(long, long), (long, short), (short, long), ("", long), (long, ""), (short, short), ("", "")]
    same_ids(minilm, pairs, [4, 5, 16, 17, 128, 255, 256, 511, 512])


@pytest.mark.parametrize("prompt", ["", "question: ", "is this the same as that one? "])
def test_a_prompt_counts_as_words_of_the_first_side(minilm, prompt):
    """It stands before the first side, and is cut with it, longest first."""
    long = "It rained all day, so we stayed in and read. " * 40
    pairs = [("who won?", "nobody did"), (long, "no"), ("so", long), (long, long), ("", long), (long, ""), ("", "")]
    found = embedder_of(minilm, prompt=prompt, pooling="mean", max_length=64).transform(pairs)
    asked = [(prompt + first, second) for first, second in pairs]
    folder = str(resolve_model(minilm).folder)
    assert relative_difference(found, padded_vectors(folder, asked, max_length=64)) < 1e-5


@pytest.mark.parametrize("way", PAIRED)
def test_every_kind_of_pairs_gives_transformers_vectors(tiny_bert_folder, way):
    """Whatever holds the pairs, what is read is `tokenizer(first, second)`, padded, by plain transformers."""
    found = embedder_of(tiny_bert_folder, pooling="mean").transform(PAIRED[way](ROWS))
    assert relative_difference(found, padded_vectors(tiny_bert_folder, ROWS)) < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_real_pairs_of_every_pooling_equal_transformers(minilm, pooling):
    """Segments reach every pooling of the real model."""
    folder = str(resolve_model(minilm).folder)
    found = embedder_of(minilm, pooling=pooling, normalize=False).transform(ROWS)
    assert relative_difference(found, padded_vectors(folder, ROWS, pooling=pooling)) < 1e-5


# -- what is another text ------------------------------------------------------------------------------------------


def test_the_order_of_the_sides_matters(tiny_bert_folder):
    """(a, b) is another text than (b, a), though the words are the same."""
    embedder = embedder_of(tiny_bert_folder, cache=MemoryStore())
    found, turned = embedder.transform(ROWS[:4]), embedder.transform([(b, a) for a, b in ROWS[:4]])
    assert (np.abs(found - turned).max(axis=1) > 0.01).all()
    assert embedder.cache.info().misses == 8


def test_single_texts_and_pairs_share_no_stored_vector(tiny_bert_folder):
    """Of the same words, and nearly of the same bytes, each has its own vector, whichever was stored first."""
    single = ["who won nobody", "who won", "nobody", "who won [SEP] nobody", "who won\0nobody", ""]
    pairs = [("who won", "nobody"), ("who won nobody", ""), ("", "who won nobody"), ("who", "won nobody"), ("", "")]
    expected = [embedder_of(tiny_bert_folder).transform(items) for items in (single, pairs)]
    for turn in (1, -1):
        embedder = embedder_of(tiny_bert_folder, cache=MemoryStore())
        for items, right in [(single, expected[0]), (pairs, expected[1])][::turn] * 2:
            np.testing.assert_allclose(embedder.transform(items), right, atol=1e-5)
        assert embedder.cache.info().misses == len(single) + len(pairs)


def test_half_a_pair_is_missing(tiny_bert_folder):
    """One side missing: an error that names the row, or the vector of the empty text, which a pair of "" has not."""
    embedder = embedder_of(tiny_bert_folder)
    empty, empty_pair = embedder.transform([""])[0], embedder.transform([("", "")])[0]
    assert np.abs(empty - empty_pair).max() > 0.01
    for half in [("who won", None), (np.nan, "nobody"), (pd.NA, None)]:
        rows = [ROWS[0], half]
        with pytest.raises(MissingTextError, match=r"(?s)row.*\b1\b"):
            embedder.transform(rows)
        found = clone(embedder).set_params(missing="empty").transform(rows)
        np.testing.assert_allclose(found[1], empty, atol=1e-5)
        np.testing.assert_allclose(found[0], embedder.transform(ROWS[:1])[0], atol=1e-5)


# -- the classifier ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["error", "empty"])
def test_a_classifier_of_pairs_takes_missing_sides_as_its_embedder_does(tiny_bert_folder, policy):
    """The policy is the embedder's, in fit and in every method."""
    rows, y = [*X, ("how was it", None)], [*Y, "good"]
    classifier = classifier_of(tiny_bert_folder, missing=policy)
    if policy == "error":
        with pytest.raises(MissingTextError, match=str(len(X))):
            classifier.fit(rows, y)
        classifier.fit(X, Y)
        for method in (classifier.predict, classifier.predict_proba):
            with pytest.raises(MissingTextError, match=str(len(X))):
                method(rows)
        return
    chances = classifier.fit(rows, y).predict_proba(rows)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(classifier.predict_proba([X[0], (None, "so")])[1], chances[-1], atol=1e-5)


def test_pairs_go_through_a_pipeline_and_scikit_learns_tools(tiny_bert_folder):
    """TextCleaner cleans both sides; fit, predict, predict_proba, score, cross_val_score, clone and pickle."""
    rows = [(f"@someone {asked}", f"{told} http://t.co/x") for asked, told in X]
    clean = TextCleaner()
    pipe = make_pipeline(clean, classifier_of(tiny_bert_folder, layers=(-1, -2), cache=MemoryStore())).fit(rows, Y)
    assert clean.transform(rows)[0] not in rows
    chances = pipe.predict_proba(rows)
    assert chances.shape == (len(rows), 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    assert pipe.predict(rows).tolist() == pipe.classes_[chances.argmax(axis=1)].tolist()
    assert pipe.score(rows, Y) == np.mean(pipe.predict(rows) == Y) > 0.9
    again = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_allclose(again.predict_proba(rows), chances, atol=1e-5)
    np.testing.assert_allclose(clone(pipe).fit(rows, Y).predict_proba(rows), chances, atol=1e-5)
    frame = pd.DataFrame(rows, columns=["asked", "told"])
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    by_hand = [
        clone(pipe).fit([rows[k] for k in learn], Y[learn]).score([rows[k] for k in test], Y[test])
        for learn, test in folds.split(rows, Y)
    ]
    assert cross_val_score(pipe, frame, Y, cv=folds).tolist() == by_hand
    with pytest.raises(TextInputError, match="holds single texts"):
        pipe.predict([told for _, told in rows])


def compare(vectors):
    u, v = np.hsplit(vectors, 2)
    return np.hstack([u, v, np.abs(u - v), u * v])


def test_two_single_vectors_side_by_side_the_way_the_docs_say(tiny_bert_folder):
    """[u, v, |u - v|, u * v] from two columns, in a pipeline that can be cloned, pickled and cross-validated."""
    embedder = embedder_of(tiny_bert_folder, cache=MemoryStore())
    frame = pd.DataFrame(X, columns=["asked", "told"])
    both = make_pipeline(make_column_transformer((embedder, "asked"), (embedder, "told")), FunctionTransformer(compare))
    u, v = (embedder.transform(frame[name]) for name in frame)
    np.testing.assert_array_equal(both.fit_transform(frame), np.hstack([u, v, abs(u - v), u * v]))
    assert embedder.cache.info().misses == len(set(frame["asked"]) | set(frame["told"]))
    whole = Pipeline([("both", both), ("classify", LogisticRegression(max_iter=1000))])
    assert np.isfinite(cross_val_score(whole, frame, Y, cv=3)).all()
    again = pickle.loads(pickle.dumps(whole.fit(frame, Y)))
    np.testing.assert_allclose(again.predict_proba(frame), whole.predict_proba(frame), atol=1e-5)


# -- real pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_cosines_order_real_pairs_as_sentence_transformers_does(data_folder, minilm, record_property):
    """STS-B, development part: Spearman's correlation within 1e-4 of that of SentenceTransformer.encode."""
    from sentence_transformers import SentenceTransformer

    columns = {"sep": "\t", "quoting": 3, "header": None, "usecols": [4, 5, 6]}
    frame = pd.read_csv(data_folder / "stsb" / "sts-dev.csv", **columns)
    assert len(frame) == 1500

    def spearman(encode):
        u, v = (np.asarray(encode(frame[side].tolist())) for side in (5, 6))
        cosines = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        return float(spearmanr(cosines, frame[4])[0])

    found = spearman(embedder_of(minilm).transform)
    peer = spearman(SentenceTransformer(str(resolve_model(minilm).folder), device="cpu").encode)
    record_property("spearman", {"skbert": found, "sentence-transformers": peer})
    assert abs(found - peer) < 1e-4
    assert found > 0.85
