"""What a text beyond the limit gets, against windows cut by hand and run by plain transformers; and bounded memory.

Beside these: the arithmetic of windows in test_tokens.py, texts of a million characters in test_engine_table.py,
warnings and errors in test_embedder.py.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.base import clone
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModel, AutoTokenizer

from skbert import BertEmbedder, MemoryStore, text_report
from skbert._embedder.counting import count_tokens
from skbert._engine import pieces as pieces_module
from skbert._engine.chunks import Chunks
from skbert._engine.encoder import Encoder
from skbert._engine.loading import load_tokenizer, load_tokenizer_and_unknown
from skbert._engine.pieces import PieceMaker, can_cut
from skbert._engine.sources import resolve_model
from skbert._engine.spec import Unit
from skbert.exceptions import TextInputError
from tests._models import FAMILIES, WORDS
from tests._reference import relative_difference

LONG = " ".join(np.random.default_rng(0).choice(WORDS, 150))
SHORT = "the fair night"
LAYERS = (0, 1, -1)


def embedder_of(folder, **params):
    return BertEmbedder(folder, **{"device": "cpu", "cache": None, **params})


# -- the vectors ---------------------------------------------------------------------------------------------------


class Plain:
    """Plain transformers over ids: no window, no packing and nothing of skbert."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):
            self.model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()

    def pieces(self, text):
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]

    def vectors(self, body, second=None, pooling="mean"):
        """Return the vectors of `LAYERS`, side by side, of one row of pieces with special tokens around it."""
        around = self.tokenizer(["a"] if second is None else [["a", "the"]], return_token_type_ids=True)
        ids, kinds = [], []
        sides = iter([body] if second is None else [body, second])
        special = set(self.tokenizer.all_special_ids)
        for token, kind in zip(around["input_ids"][0], around["token_type_ids"][0], strict=True):
            side = [token] if token in special else next(sides)
            ids += side
            kinds += [kind] * len(side)
        inputs = {"input_ids": torch.tensor([ids])}
        if second is not None and "token_type_ids" in self.tokenizer.model_input_names:
            inputs["token_type_ids"] = torch.tensor([kinds])
        with torch.inference_mode():
            states = self.model(**inputs, output_hidden_states=True).hidden_states
        join = {"mean": lambda x: x.mean(0), "max": lambda x: x.amax(0), "cls": lambda x: x[0]}[pooling]
        return torch.cat([join(states[layer][0]) for layer in LAYERS]).double().numpy()


def windows_of(body, room):
    """Return a long text's chunks as the docs say: full, of even distance, an eighth in common at least."""
    if len(body) <= room:
        return [body]
    last = -(-(len(body) - room) // (room - room // 8))
    starts = [round(k * (len(body) - room) / last) for k in range(last + 1)]
    return [body[start : start + room] for start in starts]


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_chunks_are_the_windows_run_one_by_one(tiny_model, family, pooling):
    """Each window is one plain forward; means and first tokens are averaged with the pieces as weights, over layers."""
    folder = tiny_model(family)
    plain = Plain(folder)
    texts = [LONG, SHORT, f"{LONG} {SHORT} good", "fair " * 20]
    found = embedder_of(folder, layers=LAYERS, pooling=pooling, max_length=24, long_texts="chunk").transform(texts)
    for vector, text in zip(found, texts, strict=True):
        windows = windows_of(plain.pieces(text), 22)
        assert {piece for window in windows for piece in window} == set(plain.pieces(text))
        each = [plain.vectors(window, pooling=pooling) for window in windows]
        joined = np.max(each, axis=0) if pooling == "max" else np.average(each, axis=0, weights=list(map(len, windows)))
        assert relative_difference(vector[None], joined[None]) < 1e-5


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_real_chunks_are_the_windows_run_one_by_one(minilm, pooling):
    """The same for all-MiniLM-L6-v2 at its own 256 tokens."""
    plain = Plain(str(resolve_model(minilm).folder))
    text = "It rained all day, so we stayed in; nobody unbelievably re-read Dostoyevsky's 17 novels! " * 40
    pieces = plain.pieces(text)
    assert len(pieces) > 3 * 254
    params = {"layers": LAYERS, "pooling": pooling, "normalize": False, "long_texts": "chunk"}
    (found,) = embedder_of(minilm, **params).transform([text])
    windows = windows_of(pieces, 254)
    joined = np.mean([plain.vectors(window, pooling=pooling) for window in windows], axis=0)
    assert relative_difference(found[None], joined[None]) < 1e-5


def first_and_last(body, room):
    """Return what Sun et al. keep, 128 of 510 pieces from the beginning and 382 from the end, in proportion."""
    if len(body) <= room:
        return body
    head = round(room * 128 / 510)
    return body[:head] + body[len(body) - (room - head) :]


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
@pytest.mark.parametrize("length", [4, 5, 24, 64])
def test_head_tail_is_the_first_and_the_last_pieces(tiny_model, family, length):
    """A plain forward of the pieces that are kept, for texts of any length."""
    folder = tiny_model(family)
    plain = Plain(folder)
    texts = [LONG, SHORT, "good", " ".join(WORDS[:62]), " ".join(WORDS[:63])]
    found = embedder_of(folder, layers=LAYERS, max_length=length, long_texts="head_tail", pooling="mean").transform(
        texts
    )
    expected = [plain.vectors(first_and_last(plain.pieces(text), length - 2)) for text in texts]
    assert relative_difference(found, np.array(expected)) < 1e-5


def test_head_tail_of_a_pair_keeps_both_ends_of_both_sides(tiny_bert_folder):
    """The room is shared out as truncation does, longest first; then each side keeps its own two ends."""
    plain = Plain(tiny_bert_folder)
    params = {"layers": LAYERS, "max_length": 33, "long_texts": "head_tail", "pooling": "mean"}
    # Rooms of 30 pieces: both sides long, one of them, and none.
    rooms = {(LONG, LONG): (15, 15), (LONG, SHORT): (27, 3), (SHORT, LONG): (3, 27), (SHORT, SHORT): (30, 30)}
    found = embedder_of(tiny_bert_folder, **params).transform(list(rooms))
    expected = []
    for sides, room in rooms.items():
        kept = [first_and_last(plain.pieces(side), n) for side, n in zip(sides, room, strict=True)]
        expected.append(plain.vectors(*kept))
    assert relative_difference(found, np.array(expected)) < 1e-5


# -- which texts are the same --------------------------------------------------------------------------------------


def test_neighbours_do_not_change_a_chunked_text(tiny_bert_folder):
    """Law 2 for texts in chunks: alone, reversed, among others, and in batches that end in the midst of it."""
    texts = [LONG, SHORT, LONG[::-1], f"{LONG} {LONG}", "no"]
    whole = embedder_of(tiny_bert_folder, long_texts="chunk").transform(texts)
    for budget in (1, 64, 200, "auto"):
        embedder = embedder_of(tiny_bert_folder, long_texts="chunk", batch_tokens=budget)
        assert relative_difference(embedder.transform(texts[::-1])[::-1], whole) < 1e-5
        for row, text in enumerate(texts):
            assert relative_difference(embedder.transform([text]), whole[[row]]) < 1e-5


def test_chunks_share_no_stored_vector_with_other_ways(tiny_bert_folder):
    """Each way stores its own vector of a long text; "warn" and "error" read what "truncate" stored."""
    store = MemoryStore()
    ways = ["truncate", "head_tail", "chunk"]
    found = {way: embedder_of(tiny_bert_folder, long_texts=way, cache=store).transform([LONG]) for way in ways}
    assert store.info().misses == 3
    for way in ways:
        embedder = embedder_of(tiny_bert_folder, long_texts=way)
        assert np.array_equal(clone(embedder).set_params(cache=store).transform([LONG]), found[way])
        assert np.array_equal(embedder.transform([LONG]), found[way])
    assert store.info().misses == 3
    assert all(np.abs(found[a] - found[b]).max() > 0.01 for a in ways for b in ways if a != b)
    with pytest.raises(TextInputError, match="Row 1 of X is longer than max_length=64 tokens by 88"):
        embedder_of(tiny_bert_folder, long_texts="error", cache=store).transform([SHORT, LONG])


@pytest.mark.data
def test_real_reviews_that_differ_after_the_limit(data_folder, minilm):
    """Two reviews that are one up to the 256th token: one vector under "truncate", two under the other ways."""
    texts = pd.read_csv(data_folder / "imdb" / "reviews.csv")["text"]
    backend = load_tokenizer(resolve_model(minilm))
    longest = max(texts, key=lambda text: len(backend.encode(text).ids))
    assert len(backend.encode(longest).ids) > 600
    kept = longest[: longest.rfind(" ", 0, 4 * len(longest) // 5)]
    other = kept + " It was the worst film that I have ever seen, and I want my money back."
    for way, same in [("truncate", True), ("head_tail", False), ("chunk", False)]:
        a, b = embedder_of(minilm, long_texts=way).transform([longest, other])
        assert np.allclose(a, b, atol=1e-6) == same
        assert (float(a @ b) < 0.999) != same


# -- what goes through the model -----------------------------------------------------------------------------------


def test_chunks_go_through_the_model_without_padding(tiny_bert_folder, monkeypatch):
    """Only pieces, overlaps and special tokens: no token is run for a batch's or a window's sake."""
    sizes, run = [], Encoder._states

    def counting(self, batch, layout, inputs, *args):
        sizes.append(inputs["input_ids"].numel())
        return run(self, batch, layout, inputs, *args)

    texts = [LONG, SHORT, f"{LONG} good", "no"]
    embedder = embedder_of(tiny_bert_folder, max_length=24, long_texts="chunk")
    embedder.transform(["load"])
    monkeypatch.setattr(Encoder, "_states", counting)
    embedder.transform(texts)
    bodies = [windows_of(Plain(tiny_bert_folder).pieces(text), 22) for text in texts]
    assert sum(sizes) == sum(len(window) + 2 for windows in bodies for window in windows)


# -- memory --------------------------------------------------------------------------------------------------------


def test_open_chunks_keep_one_vector_a_text():
    """However many chunks a text has, what waits for the rest of them is a sum and a maximum."""
    units = [Unit(layer, pooling) for layer in range(7) for pooling in ("mean", "cls", "max")]
    n, n_texts, size = 2_000, 2, 20
    owners = np.repeat(np.arange(n_texts), n)
    chunks = Chunks(owners, np.full(len(owners), 62))
    draw = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for start in range(0, len(owners), size):
            pooled = draw.standard_normal((size, len(units), 384), dtype=np.float32)
            chunks.take(np.arange(start, start + size), pooled, units)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one = len(units) * 384 * 4
    assert peak < (3 * n_texts + 3 * size + 10) * one  # all chunks of one text alone would be 2,000 of them


def big_enough(monkeypatch, long=40, chars=100, texts=5):
    """Make the portions small, so that short texts are long ones."""
    monkeypatch.setattr(pieces_module, "_LONG", long)
    monkeypatch.setattr(pieces_module, "_CHARS", chars)
    monkeypatch.setattr(pieces_module, "_TEXTS", texts)


class Watched:
    """A tokenizer that notes how much it is given at once."""

    def __init__(self, backend):
        self._backend, self.calls = backend, []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def encode_batch_fast(self, texts, **params):
        self.calls.append([len(text) for text in texts])
        return self._backend.encode_batch_fast(texts, **params)


BLANKS = ["  ", " ", " ", " ", "\n", "\t", "\r\n", "\u3000", "\u00a0", "\x1c", "\x00", "\u200b", "\u200d"]
SCRIPTS = [
    "é",
    "e\u0301",
    "\u0301",
    "\u0600",
    "中文",
    "。",
    "مرحبا",
    "Σ",
    "ΑΣ",
    "👍🏽",
    "ﬁ",
    "Ａ",
    "¨",
    "İ",
    "\u0d4e",
    "\ufdfa",
]
MARKED = ["[SEP]", "<mask>", "</s>", "[MASK]", "##ing", "▁", "a", "the", "night", "Word", "12", ".", ",", "'s"]
SIGNS = st.sampled_from([*BLANKS, *SCRIPTS, *MARKED])
TEXTS = st.lists(st.lists(SIGNS, max_size=60).map("".join) | st.text(max_size=80), max_size=8)


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_do_not_depend_on_how_much_is_tokenised_at_once(tiny_model, family):
    """Texts in portions, and long ones cut, give the pieces of the texts one by one, whatever the signs."""
    backend = load_tokenizer(resolve_model(tiny_model(family)))

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(TEXTS, st.integers(1, 30), st.booleans())
    def check(texts, long, lowercase):
        with pytest.MonkeyPatch.context() as patch:
            big_enough(patch, long=long, chars=2 * long)
            found = PieceMaker(backend, lowercase)(texts)
        whole = [text.lower() if lowercase else text for text in texts]
        assert [list(pieces) for pieces in found] == [
            backend.encode(text, add_special_tokens=False).ids for text in whole
        ]

    check()


def test_which_families_are_tokenised_in_parts(tiny_model):
    """All whose words end at white space; not DeBERTa's, which sees a text as one, and is tokenised whole."""
    found = {family: can_cut(load_tokenizer(resolve_model(tiny_model(family)))) for family in FAMILIES}
    assert found == {family: family != "deberta-v2" for family in FAMILIES}


def word_pieces(pre_tokenizer, normalizer=None, *added):
    """Return a tokenizer of these parts that knows a few words."""
    vocab = {"[UNK]": 0, "a": 1, "b": 2, "▁a": 3, "▁b": 4, "▁": 5}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizer, normalizer
    tokenizer.add_tokens(list(added))
    return tokenizer


SPLIT, BYTES = pre_tokenizers.BertPreTokenizer, pre_tokenizers.ByteLevel
NOTICING = {
    "no pre-tokenizer": lambda: word_pieces(None),
    "Metaspace alone": lambda: word_pieces(pre_tokenizers.Metaspace()),
    "Metaspace of the first word": lambda: word_pieces(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")])
    ),
    "bytes without words": lambda: word_pieces(BYTES(use_regex=False)),
    "bytes after Strip": lambda: word_pieces(BYTES(), normalizers.Strip()),
    "bytes without accents": lambda: word_pieces(BYTES(), normalizers.Sequence([normalizers.StripAccents()])),
    "words after Replace": lambda: word_pieces(SPLIT(), normalizers.Replace("a b", "c")),
    "words after Prepend": lambda: word_pieces(SPLIT(), normalizers.Prepend("x")),
    "a token of two words": lambda: word_pieces(SPLIT(), None, AddedToken("a b")),
    "a token that takes the blank behind it": lambda: word_pieces(BYTES(), None, AddedToken("a", rstrip=True)),
}


@pytest.mark.parametrize("name", NOTICING)
def test_a_tokenizer_that_might_notice_is_given_the_whole_text(monkeypatch, name):
    """Its pieces are those of the text, since that is not cut."""
    backend = NOTICING[name]()
    assert not can_cut(backend)
    big_enough(monkeypatch, long=2)
    watched = Watched(backend)
    text = "a b" * 3 + " a b" * 5
    (found,) = PieceMaker(watched)([text])
    assert list(found) == backend.encode(text, add_special_tokens=False).ids
    assert watched.calls == [[len(text)]]


def test_the_tokenizer_gets_a_bounded_amount_at_once(tiny_bert_folder, monkeypatch):
    """A long text as many texts: no call of more than the limit, and nothing left out."""
    big_enough(monkeypatch, long=100, chars=1_000, texts=7)
    watched = Watched(load_tokenizer(resolve_model(tiny_bert_folder)))
    texts = [" ".join(WORDS * 20), *WORDS, "good " * 50, ""]
    made = PieceMaker(watched)(texts)
    longest = 100 + max(map(len, WORDS)) + 1
    assert max(map(sum, watched.calls)) <= 1_000
    assert max(size for call in watched.calls for size in call) <= longest
    assert max(map(len, watched.calls)) <= 7
    assert sum(map(sum, watched.calls)) == sum(map(len, texts))
    assert len(made) == len(texts)


def test_the_report_counts_a_long_text_in_parts(tiny_bert_folder, monkeypatch):
    """`count_tokens`, and with it `text_report`, cut it too, and count what there is, the unknown ones included."""
    text = " ".join([*WORDS * 10, "😂", *WORDS * 5, "😂"])
    embedder = embedder_of(tiny_bert_folder, long_texts="chunk", prompt="so: ")
    expected = count_tokens(embedder, [text, SHORT])
    backend, unknown = load_tokenizer_and_unknown(resolve_model(tiny_bert_folder))
    watched = Watched(backend)
    big_enough(monkeypatch, long=100, chars=1_000)
    monkeypatch.setattr("skbert._engine.loading.load_tokenizer_and_unknown", lambda files: (watched, unknown))
    found = count_tokens(embedder, [text, SHORT])
    assert found.pieces.tolist() == expected.pieces.tolist() == [len(WORDS) * 15 + 2 + 2, len(SHORT.split()) + 2]
    assert found.unknown.tolist() == expected.unknown.tolist() == [2, 0]
    assert max(map(sum, watched.calls)) <= 1_000
    report = text_report([text, SHORT], embedder=embedder)
    assert report.loc["longest text, in tokens", "count"] == found.pieces[0] + 2
