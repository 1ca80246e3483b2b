"""tokenize: what a model reads, piece by piece, and where in the user's text each piece stands."""

from __future__ import annotations

import functools
import html
import json
import pickle
import re
import shutil
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoTokenizer

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner, release_models
from skbert._embedder.reading import TextReader
from skbert.exceptions import InvalidParameterError, MissingTextError, ModelFilesError, TextInputError
from skbert.inspection import TokenFrame, tokenize
from tests._models import FAMILIES, MAX_TOKENS

COLUMNS = (
    *("row", "chunk", "position", "piece", "id", "attention_mask", "segment", "side", "start", "end", "text"),
    *("special", "prompt", "unknown", "cut"),
)
LIKE_BERT = ("bert", "distilbert", "electra", "mpnet", "all-MiniLM-L6-v2")
TOKENIZERS = (*FAMILIES, "all-MiniLM-L6-v2")
# What makes offsets go wrong: emoji of several characters, accents of their own, other scripts, characters that get
# longer in lower case or by their compatible form, and those that tokenizers drop.
FRAGMENTS = (
    *("\U0001f469\u200d\U0001f680", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f602"),
    *(
        "e\u0301",
        "a\u0301\u0302",
        "\u0301",
        "\u00e9",
        "\u0130",
        "\u0130\u0307s",
        "\u1e9e",
        "\ufb01",
        "\u2460",
        "\u1112\u1161",
    ),
    *(
        "\u5317\u4eac",
        "\u304b\u3099",
        "\u0e01\u0e33",
        "\ud55c\uad6d",
        "\u0645\u0631\u062d\u0628\u0627\u064b",
        "\u05e9\u05b8\u05dc\u05d5\u05dd",
        "\u202b\u05d0\u202c",
    ),
    *(
        "\x00",
        "\x1b",
        "\ufffd",
        "\u200b",
        "\xad",
        "\u3000",
        "\xa0",
        "\u2028",
        "\t",
        "\n",
        " ",
        "  ",
        "\u2581",
        "\u0120",
    ),
    *(
        "the",
        "Bad",
        "worst",
        "don't",
        "#tag",
        "@x",
        "...",
        "?!",
        "12,5",
        "[SEP]",
        "[MASK]",
        "</s>",
        "<mask>",
        "[UNK]",
        "##s",
    ),
)
TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=8).map("".join)
RANDOM = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(params=TOKENIZERS)
def model(request, tiny_model):
    """Return the folder or the name of a model of each family, and of a real one."""
    if request.param in FAMILIES:
        return tiny_model(request.param)
    request.getfixturevalue("minilm")
    return request.param


@pytest.fixture(params=LIKE_BERT)
def bert_like(request, tiny_model):
    """Return a model with BERT's own tokenizer."""
    if request.param in FAMILIES:
        return tiny_model(request.param)
    request.getfixturevalue("minilm")
    return request.param


@functools.cache
def own_tokenizer(model):
    """Return transformers' own tokenizer of a model."""
    return AutoTokenizer.from_pretrained(TextReader(BertEmbedder(model)).files.folder)


def is_kept(char, normalizer):
    """Say whether a tokenizer does anything with a character."""
    kept = char if normalizer is None else normalizer.normalize_str(char)
    return not char.isspace() and bool(kept.strip())


# -- offsets, on random Unicode ----------------------------------------------------------------------------------


@RANDOM
@given(first=TEXTS, second=st.none() | TEXTS, max_length=st.sampled_from([8, 32]))
def test_the_model_reads_what_transformers_own_tokenizer_makes(model, first, second, max_length):
    """Ids, segments, order and decoded text equal transformers', for texts and pairs, cut or not."""
    tokenizer = own_tokenizer(model)
    sides = [[first]] if second is None else [[first], [second]]
    batch = tokenizer(*sides, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
    frame = tokenize([first if second is None else (first, second)], BertEmbedder(model, max_length=max_length))
    read = frame[~frame["cut"]]
    assert read["id"].tolist() == batch["input_ids"][0]
    assert read["segment"].tolist() == batch["token_type_ids"][0]
    assert read["attention_mask"].tolist() == batch["attention_mask"][0]
    assert read["position"].tolist() == list(range(len(read)))
    assert read["piece"].tolist() == tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    assert frame.decoded == [tokenizer.decode(batch["input_ids"][0])]
    whole = tokenizer(*sides, truncation=False, add_special_tokens=False)["input_ids"][0]
    assert sorted(frame.loc[~frame["special"], "id"]) == sorted(whole)


@RANDOM
@given(first=TEXTS, second=TEXTS)
def test_spans_lie_in_the_text_and_go_forward(model, first, second):
    """Spans of pieces lie within their side, never go back, and share at most a character, as its bytes do."""
    frame = tokenize([(first, second)], BertEmbedder(model, max_length=MAX_TOKENS, long_texts="truncate"))
    for side, text in enumerate((first, second)):
        mine = frame[(frame["side"] == side) & ~frame["cut"]]
        spans = mine[["start", "end"]].to_numpy(dtype=np.int64)
        assert ((spans[:, 0] >= 0) & (spans[:, 0] <= spans[:, 1]) & (spans[:, 1] <= len(text))).all()
        assert (np.diff(spans, axis=0) >= 0).all()
        assert (spans[1:, 0] >= spans[:-1, 1] - 1).all()
        assert mine["text"].tolist() == [text[start:end] for start, end in spans.tolist()]
        assert all(shown == shown.strip() for shown in mine["text"])
    assert frame.loc[frame["special"], ["side", "start", "end"]].isna().all(axis=None)


@RANDOM
@given(text=TEXTS)
@example(text="".join(FRAGMENTS[:17]))
@example(text="".join(FRAGMENTS[17:26]))
@example(text="\u1112\u1161 a")
def test_every_character_that_counts_has_a_piece(model, text):
    """What is neither white space nor dropped by the tokenizer's normalisation is in the span of some piece."""
    reader = TextReader(BertEmbedder(model, long_texts="head_tail"))
    (reading,) = reader.read([text])
    covered = {place for start, end in reading.spans.tolist() for place in range(start, end)}
    missed = [k for k, char in enumerate(text) if is_kept(char, reader.reader.backend.normalizer) and k not in covered]
    assert [text[k] for k in missed] == []


def check_pieces(frame, text, normalize, special):
    """Check that pieces are the normal form of their characters; those that share characters are taken together."""
    mine = frame[~frame["special"]].sort_values(["start", "end"], kind="stable")
    groups = []
    for piece, start, end, unknown in mine[["piece", "start", "end", "unknown"]].itertuples(index=False):
        bare = re.sub(r"^##(?=.)", "", piece)
        if groups and start < groups[-1][2]:
            before, first, last, was_unknown = groups[-1]
            groups[-1] = (before + bare, first, max(last, end), was_unknown or unknown)
        else:
            groups.append((bare, start, end, unknown))
    for made, start, end, unknown in groups:
        if made in special and not unknown:
            assert text[start:end].startswith(made)  # the user wrote it
            assert all(unicodedata.category(char)[0] == "M" for char in text[start + len(made) : end])
        elif not unknown:
            assert normalize(text[start:end]).strip() == made


@RANDOM
@given(text=TEXTS)
@example(text="\ud55c\uad6d \u0130s e\u0301 \ufb01 [SEP] \u1112\u1161")
def test_a_piece_is_what_normalisation_makes_of_its_characters(bert_like, text):
    """With BERT's tokenizer a piece, without its ##, is the normal form of the characters that it stands for."""
    normalizer = TextReader(BertEmbedder(bert_like)).reader.backend.normalizer
    frame = tokenize([text], BertEmbedder(bert_like, long_texts="truncate"))
    check_pieces(frame, text, normalizer.normalize_str, own_tokenizer(bert_like).all_special_tokens)


@RANDOM
@given(text=TEXTS)
@example(text="\u0130stanbul \u0130\u0130 the \u03a3\u03a3 \u0130")
def test_models_in_lower_case_keep_the_users_characters(lowering, text):
    """Where texts are made lower case before the tokenizer, which may lengthen them, spans are of the text itself."""
    normalizer = TextReader(BertEmbedder(lowering)).reader.backend.normalizer
    frame = tokenize([text], BertEmbedder(lowering, long_texts="truncate"))
    special = own_tokenizer(lowering).all_special_tokens
    check_pieces(frame, text, lambda part: normalizer.normalize_str(part.lower()), special)


@pytest.fixture(scope="session")
def cased(tiny_model, tmp_path_factory):
    """Return a tiny BERT whose tokenizer leaves capitals and accents alone."""
    folder = tmp_path_factory.mktemp("cased") / "model"
    shutil.copytree(tiny_model("bert"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] |= {"lowercase": False, "strip_accents": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"do_lower_case": False, "strip_accents": False})
    )
    return folder


@pytest.fixture(scope="session")
def lowering(cased, tmp_path_factory):
    """Return the same with sentence-transformers' own lower-casing before it."""
    folder = tmp_path_factory.mktemp("lowering") / "model"
    shutil.copytree(cased, folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": True}))
    return folder


@RANDOM
@given(
    words=st.lists(st.sampled_from(["the", "Bad", "worst", "NIGHT", "Economy", "win"]), min_size=1, max_size=6),
    data=st.data(),
)
def test_untouched_words_stand_where_the_user_wrote_them(minilm, words, data):
    """Behind a TextCleaner the span of a word that it left alone is that word in the text as it was given."""
    noise = st.sampled_from(
        ["\U0001f602", "http://t.co/x1", "@somebody", "&amp;", "\u2026", "caf\u00c3\u00a9", "\n", "!!!!!!"]
    )
    text, places = "", []
    for word in words:
        text += "".join(f"{one} " for one in data.draw(st.lists(noise, max_size=3)))
        places.append((len(text), len(text) + len(word)))
        text += word + " "
    pipeline = make_pipeline(TextCleaner(), BertEmbedder(minilm))
    frame = tokenize([text], pipeline)
    mine = frame[frame["piece"].isin([word.lower() for word in words]) & frame["text"].isin(words)]
    assert [tuple(span) for span in mine[["start", "end"]].to_numpy()] == places
    assert frame.decoded == tokenize(TextCleaner().transform([text]), BertEmbedder(minilm)).decoded


@RANDOM
@given(text=TEXTS)
def test_behind_a_cleaner_spans_are_of_the_text_as_it_was_given(tiny_bert_folder, text):
    """Whatever the cleaning does, spans lie in the user's text, and the pieces are those of the cleaned text."""
    frame = tokenize([text], make_pipeline(TextCleaner(), BertEmbedder(tiny_bert_folder, long_texts="truncate")))
    plain = tokenize(TextCleaner().transform([text]), BertEmbedder(tiny_bert_folder, long_texts="truncate"))
    assert frame["id"].tolist() == plain["id"].tolist()
    for start, end, shown in frame.loc[~frame["special"], ["start", "end", "text"]].itertuples(index=False):
        assert 0 <= start <= end <= len(text)
        assert text[start:end] == shown


# -- the frame ---------------------------------------------------------------------------------------------------


def test_a_text_in_columns(minilm):
    """Every column of a small example, by hand."""
    frame = tokenize(["Unbelievably \U0001f602 caf\u00e9"], BertEmbedder(minilm))
    none = pd.NA
    expected = {
        "row": [0] * 9,
        "chunk": [0] * 9,
        "position": [0, 1, 2, 3, 4, 5, 6, 7, 8],
        "piece": ["[CLS]", "un", "##bel", "##ie", "##va", "##bly", "[UNK]", "cafe", "[SEP]"],
        "id": [101, 4895, 8671, 2666, 3567, 6321, 100, 7668, 102],
        "attention_mask": [1] * 9,
        "segment": [0] * 9,
        "side": [none, 0, 0, 0, 0, 0, 0, 0, none],
        "start": [none, 0, 2, 5, 7, 9, 13, 15, none],
        "end": [none, 2, 5, 7, 9, 12, 14, 19, none],
        "text": ["", "Un", "bel", "ie", "va", "bly", "\U0001f602", "caf\u00e9", ""],
        "special": [True, *[False] * 7, True],
        "prompt": [False] * 9,
        "unknown": [False] * 6 + [True] + [False] * 2,
        "cut": [False] * 9,
    }
    assert tuple(frame.columns) == tuple(expected)
    for name, values in expected.items():
        assert all(a is b or a == b for a, b in zip(frame[name].tolist(), values, strict=True)), name


def test_dtypes_and_attributes(tiny_bert_folder):
    """Numbers are integers, those that may be missing nullable ones, marks are bool; there is one index."""
    frame = tokenize(["a bat", "it"], BertEmbedder(tiny_bert_folder))
    assert isinstance(frame, TokenFrame)
    assert tuple(frame.columns) == COLUMNS
    nullable = dict.fromkeys(("position", "segment", "side", "start", "end"), "Int64")
    plain = dict.fromkeys(("row", "chunk", "id", "attention_mask"), "int64")
    marks = dict.fromkeys(("special", "prompt", "unknown", "cut"), "bool")
    expected = {**nullable, **plain, **marks, "piece": "object", "text": "object"}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == expected
    assert frame.index.equals(pd.RangeIndex(len(frame)))
    assert frame.max_length == MAX_TOKENS
    assert len(frame.decoded) == 2


def test_pairs_have_two_sides_and_two_segments(minilm):
    """The segments are BERT's A and B with their special tokens; the sides are those of the pieces alone."""
    frame = tokenize([("Who won?", "Nobody.")], BertEmbedder(minilm))
    assert frame["piece"].tolist() == ["[CLS]", "who", "won", "?", "[SEP]", "nobody", ".", "[SEP]"]
    assert frame["segment"].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert frame["side"].fillna(-1).tolist() == [-1, 0, 0, 0, -1, 1, 1, -1]
    assert frame["start"].fillna(-1).tolist() == [-1, 0, 4, 7, -1, 0, 6, -1]
    assert frame.decoded == ["[CLS] who won? [SEP] nobody. [SEP]"]


@pytest.mark.parametrize("long_texts", ["warn", "error", "truncate", "head_tail"])
def test_what_is_cut_is_shown_and_not_warned_of(tiny_bert_folder, long_texts):
    """Behind what is read stand all pieces that are not, marked, whatever `long_texts` is; together they are all."""
    text = " ".join(["bad", "good", "night", "day", "vote", "win", "lie", "tax"])
    embedder = BertEmbedder(tiny_bert_folder, max_length=6, long_texts=long_texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = tokenize([text, "bad"], embedder)
    first = frame[frame["row"] == 0]
    kept = [0, 5, 6, 7] if long_texts == "head_tail" else [0, 1, 2, 3]
    words = text.split()
    assert first.loc[~first["cut"], "text"].tolist() == ["", *(words[k] for k in kept), ""]
    assert first.loc[first["cut"], "text"].tolist() == [word for k, word in enumerate(words) if k not in kept]
    assert first["cut"].tolist() == [False] * 6 + [True] * 4
    assert first["attention_mask"].tolist() == [1] * 6 + [0] * 4
    assert first.loc[first["cut"], ["position", "segment"]].isna().all(axis=None)
    assert not frame.loc[frame["row"] == 1, "cut"].any()


def test_chunks_overlap_and_hold_everything(tiny_bert_folder):
    """Under "chunk" nothing is cut; a piece in two chunks has two rows; each chunk has its special tokens."""
    text = " ".join(["bad", "good", "night", "day", "vote"] * 8)
    frame = tokenize([text], BertEmbedder(tiny_bert_folder, max_length=18, long_texts="chunk"))
    assert not frame["cut"].any()
    for _, chunk in frame.groupby("chunk"):
        assert len(chunk) == 18
        assert chunk["position"].tolist() == list(range(18))
        assert chunk["special"].tolist() == [True, *[False] * 16, True]
    starts = frame.loc[~frame["special"], "start"]
    assert frame["chunk"].max() == 2
    assert len(starts) == 48
    assert starts.nunique() == 40
    assert frame.decoded[0].count("[CLS]") == 3


def test_pieces_of_the_prompt_are_marked_and_stand_nowhere(tiny_bert_folder):
    """The prompt's pieces are read, and have no characters in the user's text, whose own begin at 0."""
    frame = tokenize(["bad night"], BertEmbedder(tiny_bert_folder, prompt="say: "))
    assert frame["prompt"].tolist() == [False, True, True, False, False, False]
    assert frame.loc[frame["prompt"], "piece"].tolist() == ["say", ":"]
    assert frame.loc[frame["prompt"], ["start", "end"]].isna().all(axis=None)
    assert frame.loc[3:4, ["start", "end"]].to_numpy().tolist() == [[0, 3], [4, 9]]


def test_missing_texts(tiny_bert_folder):
    """A missing text is the empty one, or an error that names its row, as the embedder's `missing` says."""
    frame = tokenize(["bad", None], BertEmbedder(tiny_bert_folder, missing="empty"))
    assert frame.loc[frame["row"] == 1, "piece"].tolist() == ["[CLS]", "[SEP]"]
    with pytest.raises(MissingTextError, match="row 1"):
        tokenize(["bad", None], BertEmbedder(tiny_bert_folder))


def test_any_estimator_that_holds_an_embedder(tiny_bert_folder):
    """An embedder, a classifier and a pipeline, fitted or not, give the same frame, and are not changed."""
    X, y = ["good night", "bad day", "the best", "the worst"] * 3, ["pos", "neg", "pos", "neg"] * 3
    embedder = BertEmbedder(tiny_bert_folder)
    expected = tokenize(X, embedder)
    classifier = BertSentimentClassifier(embedder, max_iter=2, random_state=0)
    estimators = [classifier, make_pipeline(embedder, LogisticRegression()), make_pipeline(classifier)]
    for estimator in estimators:
        pd.testing.assert_frame_equal(tokenize(X, estimator), expected)
        pd.testing.assert_frame_equal(tokenize(X, estimator.fit(X, y)), expected)
    assert not hasattr(embedder, "fingerprint_") or embedder is estimators[1][0]


def test_what_holds_no_embedder_is_refused(tiny_bert_folder):
    """Other estimators, and steps that nobody can follow, are named."""
    with pytest.raises(InvalidParameterError, match=r"'embedder' parameter of tokenize .* Got LogisticRegression\(\)"):
        tokenize(["a"], LogisticRegression())
    lower = FunctionTransformer(lambda X: [text.lower() for text in X])
    with pytest.raises(InvalidParameterError, match="FunctionTransformer made of which"):
        tokenize(["a"], make_pipeline(lower, BertEmbedder(tiny_bert_folder)))
    with pytest.raises(TextInputError, match="For one text, pass"):
        tokenize("a", BertEmbedder(tiny_bert_folder))
    with pytest.raises(InvalidParameterError, match="'max_length' parameter of BertEmbedder must be greater than 3"):
        tokenize([("a", "b")], BertEmbedder(tiny_bert_folder, max_length=3))


def test_a_model_without_a_fast_tokenizer_is_refused_by_name(tiny_bert_folder, tmp_path):
    """A tokenizer written in Python does not tell where pieces stand: the error names its class."""
    folder = tmp_path / "slow"
    shutil.copytree(tiny_bert_folder, folder, ignore=shutil.ignore_patterns("tokenizer*", "vocab*", "special*"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CanineTokenizer"}))
    (folder / "vocab.txt").write_text("a\n")
    with pytest.raises(ModelFilesError, match="is a CanineTokenizer, which is no fast tokenizer"):
        tokenize(["a"], BertEmbedder(folder))


def test_no_weights_are_loaded(tiny_bert_folder, monkeypatch):
    """tokenize reads the tokenizer's files only."""
    release_models()
    monkeypatch.setattr("skbert._engine.encoder.Encoder.__init__", None)
    monkeypatch.setattr("skbert._engine.loading.load_model", None)
    assert len(tokenize(["bad night"], BertEmbedder(tiny_bert_folder))) == 4


# -- how it prints -----------------------------------------------------------------------------------------------


def test_it_prints_texts_cut_into_pieces(minilm):
    """A heading a text, its pieces, unknown ones with the characters they stand for, and what was cut."""
    X = ["Unbelievable \U0001f602!", "He won, she lost, they all went home."]
    assert repr(tokenize(X, BertEmbedder(minilm, max_length=8))) == (
        "row 0: 5 tokens of at most 8\n"
        "    [CLS] unbelievable [UNK]‹😂› ! [SEP]\n"
        "row 1: 8 tokens of at most 8\n"
        "    [CLS] he won , she lost , [SEP]\n"
        "    cut: 5 pieces, characters 18 to 37"
    )


def test_many_rows_pieces_and_chunks_are_abbreviated(tiny_bert_folder):
    """Ten texts are shown, seventy pieces of each chunk, and three chunks; the rest is counted."""
    shown = repr(tokenize(["bad night"] * 1_000, BertEmbedder(tiny_bert_folder)))
    assert shown.count("[CLS] bad night [SEP]") == 10
    assert shown.endswith("… and 990 more texts")
    chunked = BertEmbedder(tiny_bert_folder, max_length=12, long_texts="chunk")
    shown = repr(tokenize(["bad " * 100], chunked))
    assert shown.startswith("row 0: ")
    assert re.search(r"in \d+ chunks of at most 12\n    chunk 0: \[CLS\] bad", shown)
    assert re.search(r"    … and \d+ more chunks$", shown)
    assert "chunk 3:" not in shown
    cut = repr(tokenize([" ".join("abcde" * 40)], BertEmbedder(tiny_bert_folder)))
    assert "cut: 138 pieces, characters 124 to 399" in cut


def test_of_a_long_sequence_the_middle_is_counted(minilm):
    """Of 256 tokens the first 60 and the last 10 are shown."""
    shown = repr(tokenize(["bad " * 300], BertEmbedder(minilm)))
    assert "row 0: 256 tokens of at most 256" in shown
    assert "… (186 more) …" in shown
    assert shown.count("bad") == 68


@RANDOM
@given(text=TEXTS)
def test_print_outs_are_safe(model, text):
    """No character that a terminal obeys, and no markup of the user's in HTML."""
    frame = tokenize([text], BertEmbedder(model, long_texts="truncate"))
    shown = repr(frame)
    assert all(unicodedata.category(char) not in ("Cc", "Cs") or char == "\n" for char in shown)
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068").intersection(shown)
    markup = re.sub(r'</?(div|p|b|br|i|code|span)( style="[a-z0-9:;#-]*")?>', "", frame._repr_html_())
    assert not set("<>").intersection(markup)
    assert html.unescape(markup).split()[:3] == ["row", "0:", f"{len(frame[~frame['cut']])}"]


def test_pieces_of_a_strange_vocabulary_are_safe_too(tiny_bert_folder):
    """A vocabulary may hold what a terminal obeys or a browser renders: that is not passed on either."""
    frame = tokenize(["bad night"], BertEmbedder(tiny_bert_folder))
    frame["piece"] = pd.Series(["[CLS]", "\x1b[31m\u202e", "<img src=x>", "[SEP]"], dtype=object)
    assert repr(frame).startswith("row 0: 4 tokens of at most 64")
    assert not set("\x1b\u202e").intersection(repr(frame) + frame._repr_html_())
    assert "<img" not in frame._repr_html_()


def test_html_holds_no_markup_of_the_users(minilm):
    """A script in a text is text, and an unknown piece is marked."""
    shown = tokenize(["<script>alert(1)</script> \U0001f602<b>"], BertEmbedder(minilm))._repr_html_()
    assert "<script" not in shown
    assert "&lt; script &gt;" in shown
    assert re.search(r'<span style="[^"]*">\[UNK\]‹😂›</span>', shown)


def test_what_is_no_longer_a_token_frame_prints_as_any_dataframe(minilm):
    """Parts of texts, other orders, other columns and frames put together print as pandas prints them."""
    frame = tokenize(["Unbelievable \U0001f602", "Not bad at all."], BertEmbedder(minilm))
    for other in (
        frame[frame["unknown"]],
        frame.head(3),
        frame.iloc[1:],
        frame.sort_values("id"),
        frame.drop(columns="cut"),
        frame.astype({"row": str}),
        frame.iloc[:0],
        pd.concat([frame, frame]),
        frame.assign(row=7),
        frame.assign(position=3),
        frame.isna(),
    ):
        assert repr(other) == repr(pd.DataFrame(other)).replace("Empty DataFrame", "Empty TokenFrame")
        assert other._repr_html_() == pd.DataFrame(other)._repr_html_()
        assert isinstance(other, TokenFrame)
    assert isinstance(frame["row"], pd.Series)


def test_whole_texts_still_print_as_texts(minilm):
    """A choice of rows of X, a copy and a pickle hold whole texts; `decoded` goes with them."""
    frame = tokenize(["Unbelievable \U0001f602", "Not bad at all.", "Fine."], BertEmbedder(minilm))
    assert repr(frame[frame["row"] > 0]).startswith(
        "row 1: 7 tokens of at most 256\n    [CLS] not bad at all . [SEP]\nrow 2:"
    )
    for other in (frame.copy(), pickle.loads(pickle.dumps(frame)), frame.reset_index(drop=True)):
        assert repr(other) == repr(frame)
        assert other.decoded == frame.decoded
        pd.testing.assert_frame_equal(other, frame)
    assert frame[frame["row"] == 1].decoded[1] == "[CLS] not bad at all. [SEP]"
