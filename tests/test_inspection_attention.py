"""Laws of attention, AttentionMap and AttentionDisplay."""

from __future__ import annotations

import doctest
import inspect
import pickle
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoConfig, AutoModel, AutoTokenizer

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner, inspection
from skbert._engine.sources import resolve_model
from skbert.exceptions import InvalidParameterError, ModelFilesError, TextInputError, TruncationWarning
from skbert.inspection import AttentionDisplay, AttentionMap, attention
from tests._models import _TOKENIZERS, FAMILIES, _randomise

TEXT = "The dog did not like the white house, it was too far."
PAIR = ("The dog did not like the house.", "It was too far.")
BOUND = 1e-5


def reference(folder, text, prompt="", max_length=None):
    """Return transformers' own eager attentions, and the pieces they are of."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    sides = (prompt + text,) if isinstance(text, str) else (prompt + text[0], text[1])
    # as a batch of one: on its own, an empty second side would count as none
    encoded = tokenizer(
        *([side] for side in sides), return_tensors="pt", truncation=max_length is not None, max_length=max_length
    )
    if "token_type_ids" in encoded and getattr(model.config, "type_vocab_size", 0) < 2:
        del encoded["token_type_ids"]
    with torch.no_grad():
        found = model(**encoded, output_attentions=True).attentions
    return torch.stack(found)[:, 0].numpy(), tuple(tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]))


def assert_equals_transformers(seen, folder, text, **how):
    """Check weights, pieces and what must hold for any attention."""
    expected, pieces = reference(folder, text, **how)
    assert seen.pieces == pieces
    assert seen.weights.dtype == np.float32
    assert seen.weights.shape == expected.shape
    assert np.abs(seen.weights - expected).max() <= BOUND
    assert np.abs(seen.weights.sum(axis=-1) - 1).max() <= BOUND
    assert np.ptp(expected) > 0.1  # a map of equal weights would prove nothing


@pytest.fixture(scope="module")
def embedder(tiny_bert_folder):
    """Return an embedder over a tiny BERT."""
    return BertEmbedder(tiny_bert_folder)


@pytest.fixture
def pyplot():
    """Give pyplot without a window, and close what a test leaves open."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("text", [TEXT, PAIR], ids=["text", "pair"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_transformers_eager_attention(family, text, tiny_model):
    """Within 1e-5, for texts and pairs, in every family."""
    folder = str(tiny_model(family))
    assert_equals_transformers(attention(text, BertEmbedder(folder)), folder, text)


@pytest.mark.parametrize("text", [TEXT, PAIR, "", ("a", "")], ids=["text", "pair", "empty", "empty side"])
def test_equals_transformers_on_a_real_model(text, minilm):
    """The same on pretrained weights, and where there is next to nothing to read."""
    files = resolve_model(minilm)
    assert_equals_transformers(attention(text, BertEmbedder(minilm)), str(files.folder), text)


@pytest.mark.parametrize("text", [TEXT, PAIR], ids=["text", "pair"])
def test_a_prompt_is_read_too(text, tiny_bert_folder):
    """It stands before the text, with pieces of no place in what the user gave."""
    seen = attention(text, BertEmbedder(tiny_bert_folder, prompt="say this: "))
    assert_equals_transformers(seen, tiny_bert_folder, text, prompt="say this: ")
    assert seen.pieces[1:4] == ("say", "this", ":")
    assert (seen.spans[1:4] == -1).all()
    assert (seen.sides[1:4] == 0).all()
    assert seen.words[:3] == ["[CLS]", "(prompt)", "The"]


@pytest.mark.parametrize("text", [TEXT, PAIR], ids=["text", "pair"])
def test_long_texts_get_what_the_embedder_says(text, tiny_bert_folder):
    """Cut with a warning, cut in silence as transformers does, or refused; under chunk refused with a remedy."""
    embedder = BertEmbedder(tiny_bert_folder, max_length=12)
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        seen = attention(text, embedder)
    assert_equals_transformers(seen, tiny_bert_folder, text, max_length=12)
    assert (
        attention(text, BertEmbedder(tiny_bert_folder, max_length=12, long_texts="head_tail")).weights.shape[-1] == 12
    )
    with pytest.raises(TextInputError, match="long_texts='error'"):
        attention(text, BertEmbedder(tiny_bert_folder, max_length=12, long_texts="error"))
    with pytest.raises(TextInputError, match=r"'chunk'.*'truncate'|'chunk'.*'head_tail'"):
        attention(text, BertEmbedder(tiny_bert_folder, max_length=12, long_texts="chunk"))
    fits = attention(text, BertEmbedder(tiny_bert_folder, long_texts="chunk"))
    assert np.array_equal(fits.weights, attention(text, BertEmbedder(tiny_bert_folder)).weights)


@pytest.mark.parametrize(
    ("layer", "head", "rows", "columns"),
    [
        (1, None, [1], [0, 1, 2, 3]),
        (-2, 3, [0], [3]),
        (None, -1, [0, 1], [3]),
        ((1, 0), (2, -4), [1, 0], [2, 0]),
        (np.int64(0), np.array([1, 2]), [0], [1, 2]),
    ],
    ids=["layer", "from the end", "head", "several", "numpy"],
)
def test_layers_and_heads_are_picked(layer, head, rows, columns, embedder):
    """Axes are kept, numbers told, and values those of the whole map."""
    whole, seen = attention(TEXT, embedder), attention(TEXT, embedder, layer=layer, head=head)
    assert np.array_equal(seen.weights, whole.weights[np.ix_(rows, columns)])
    assert (list(seen.layers), list(seen.heads)) == (rows, columns)
    assert (seen.n_layers, seen.n_heads) == (2, 4)


@pytest.mark.parametrize("value", [2, -3, 1.0, True, "1", [], [0, 0], [0, 2]], ids=repr)
def test_layers_that_are_not_there_are_refused(value, embedder):
    """The error tells how many there are."""
    message = r"The 'layer' parameter of attention must be .*\[-2, 1\].*2 layers"
    with pytest.raises(InvalidParameterError, match=message):
        attention(TEXT, embedder, layer=value)


def test_heads_that_are_not_there_are_refused(embedder):
    """The error tells how many there are; a map refuses what it does not hold."""
    with pytest.raises(InvalidParameterError, match=r"The 'head' parameter of attention .*\[-4, 3\].*4 heads.*Got 4"):
        attention(TEXT, embedder, head=4)
    seen = attention(TEXT, embedder, layer=1)
    with pytest.raises(InvalidParameterError, match=r"'layer' parameter of to_frame .* the map holds: 1\. Got 0"):
        seen.to_frame(layer=0)
    with pytest.raises(InvalidParameterError, match=r"'head' parameter of looks_at .*Got 9"):
        seen.looks_at("dog", head=9)


@pytest.mark.parametrize(
    "text",
    [["a", "b"], ("a", "b", "c"), ("a", None), None, 3, pd.Series(["a"]), pd.DataFrame({"text": ["a"]}), b"a"],
    ids=["list", "triple", "half", "none", "int", "series", "frame", "bytes"],
)
def test_more_or_less_than_one_text_is_refused(text, embedder):
    """The error names what was given, and how to go on."""
    with pytest.raises(
        TextInputError, match=r"'text' parameter of attention must be one str, .*(one by one|for text in X)"
    ):
        attention(text, embedder)
    with pytest.raises(TextInputError, match="surrogate"):
        attention("a \ud800", embedder)


def test_estimators_that_hold_an_embedder_do_as_well(embedder, tiny_bert_folder):
    """A classifier, fitted or not, and a Pipeline show the weights of their embedder; others are refused."""
    expected = attention(TEXT, embedder).weights
    classifier = BertSentimentClassifier(BertEmbedder(tiny_bert_folder), max_iter=2, early_stopping=False)
    for estimator in (classifier, make_pipeline(BertEmbedder(tiny_bert_folder), LogisticRegression())):
        assert np.array_equal(attention(TEXT, estimator).weights, expected)
    classifier.fit(["good dog", "bad dog", "good fox", "bad fox"], [1, 0, 1, 0])
    assert np.array_equal(attention(TEXT, classifier).weights, expected)
    with pytest.raises(InvalidParameterError, match="'embedder' parameter of attention"):
        attention(TEXT, LogisticRegression())
    with pytest.raises(InvalidParameterError, match="FunctionTransformer"):
        attention(TEXT, make_pipeline(FunctionTransformer(), BertEmbedder(tiny_bert_folder)))


def test_words_are_those_before_cleaning(tiny_bert_folder, embedder):
    """Weights are of the cleaned text; places and words of the text as it was given."""
    cleaner, text = TextCleaner(), "@moderator THAT WAS #FairAndGood 😀 &amp; the dog ran"
    seen = attention(text, make_pipeline(cleaner, BertEmbedder(tiny_bert_folder)))
    cleaned = attention(cleaner.transform([text])[0], embedder)
    assert seen.pieces == cleaned.pieces
    assert np.array_equal(seen.weights, cleaned.weights)
    assert seen.text == text
    assert [word for word in seen.words if word in ("#FairAndGood", "😀", "&amp;", "dog")] == [
        *("#FairAndGood", "😀", "&amp;", "dog")
    ]
    for piece, (start, end) in zip(seen.pieces, seen.spans.tolist(), strict=True):
        if piece in ("that", "the", "dog"):
            assert text[start:end].lower() == piece
    assert seen.looks_at("#FairAndGood").sum() == pytest.approx(1)


def test_places_are_in_the_text(embedder):
    """Spans of a pair count within their own side; special tokens have none."""
    seen = attention(PAIR, embedder)
    for piece, side, (start, end) in zip(seen.pieces, seen.sides.tolist(), seen.spans.tolist(), strict=True):
        if side < 0:
            assert piece in ("[CLS]", "[SEP]")
            assert (start, end) == (-1, -1)
        else:
            assert PAIR[side][start:end].lower() == piece.removeprefix("##")
    assert seen.is_special.tolist() == [piece in ("[CLS]", "[SEP]") for piece in seen.pieces]


def test_a_table_is_the_mean_over_what_is_picked(embedder):
    """to_frame averages layers and heads, rows sum to 1, and the pieces name both sides."""
    seen = attention(TEXT, embedder)
    np.testing.assert_allclose(seen.to_frame(), seen.weights.mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(seen.to_frame(layer=-1, head=(0, 2)), seen.weights[1, [0, 2]].mean(axis=0), atol=1e-6)
    table = seen.to_frame()
    assert tuple(table.index) == tuple(table.columns) == seen.pieces
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)


def test_where_a_word_looks(embedder):
    """Its pieces are averaged, those of a word looked at are summed, and each attention is there once."""
    text = "the zebra saw the dog"
    seen = attention(text, embedder)
    assert seen.pieces == ("[CLS]", "the", "z", "##e", "##b", "##r", "##a", "saw", "the", "dog", "[SEP]")
    weights = seen.weights[1, 2]
    looks = seen.looks_at("zebra", layer=1, head=2)
    assert list(looks.index) == seen.words == ["[CLS]", "the[0]", "zebra", "saw", "the[1]", "dog", "[SEP]"]
    mean = weights[2:7].mean(axis=0)
    expected = [mean[0], mean[1], mean[2:7].sum(), mean[7], mean[8], mean[9], mean[10]]
    np.testing.assert_allclose(looks, expected, atol=1e-6)
    assert looks.name == "zebra"
    np.testing.assert_allclose(seen.looks_at("the", occurrence=1, layer=1, head=2)["dog"], weights[8, 9], atol=1e-6)
    np.testing.assert_allclose(seen.looks_at("[CLS]", layer=1, head=2)["dog"], weights[0, 9], atol=1e-6)
    several = seen.looks_at("saw the", layer=1, head=2)
    np.testing.assert_allclose(several["dog"], weights[7:9, 9].mean(), atol=1e-6)


def test_how_much_a_word_looks_at_another_by_head(embedder):
    """by_head has looks_at's value of each layer and head, under their numbers."""
    seen = attention("the zebra saw the dog", embedder, layer=(1, 0), head=(3, 1))
    table = seen.by_head("the", "zebra", occurrence=1)
    assert (list(table.index), list(table.columns)) == ([1, 0], [3, 1])
    for layer in (0, 1):
        for head in (1, 3):
            expected = seen.looks_at("the", occurrence=1, layer=layer, head=head)["zebra"]
            assert table.loc[layer, head] == pytest.approx(expected, abs=1e-6)
    swapped = seen.by_head("zebra", "the", other_occurrence=1)
    assert swapped.loc[1, 3] == pytest.approx(seen.looks_at("zebra", layer=1, head=3)["the[1]"], abs=1e-6)


def test_both_sides_of_a_pair_are_words(embedder):
    """Occurrences count over both, and the marks between them are told apart."""
    seen = attention(("the dog", "the fox"), embedder)
    assert seen.words == ["[CLS]", "the[0]", "dog", "[SEP][0]", "the[1]", "fox", "[SEP][1]"]
    second = seen.looks_at("the", occurrence=1)
    np.testing.assert_allclose(second, seen.to_frame().to_numpy()[4], atol=1e-6)


@pytest.mark.parametrize("word", ["cat", "do", "", 3, "The"], ids=repr)
def test_a_word_that_is_not_there_is_refused(word, embedder):
    """The error names the words there are; a part of a word is none, and capitals count."""
    with pytest.raises(InvalidParameterError, match=r"'word' parameter of looks_at .*one of '\[CLS\]', 'the', 'dog'"):
        attention("the dog ran to the house", embedder).looks_at(word)


def test_an_occurrence_that_is_not_there_is_refused(embedder):
    """The error tells how many there are, and names the parameter of the word concerned."""
    seen = attention("the dog ran to the house", embedder)
    with pytest.raises(InvalidParameterError, match=r"The 'occurrence' parameter of looks_at .*\[0, 1\].*2 times"):
        seen.looks_at("the", occurrence=2)
    with pytest.raises(
        InvalidParameterError, match=r"The 'other_occurrence' parameter of by_head .*'dog' was read once"
    ):
        seen.by_head("the", "dog", other_occurrence=-1)
    with pytest.raises(InvalidParameterError, match=r"The 'other' parameter of by_head"):
        seen.by_head("the", "cat")


def test_a_word_that_was_cut_is_told(tiny_bert_folder):
    """Such a word is in the text, and was not read."""
    seen = attention(TEXT, BertEmbedder(tiny_bert_folder, max_length=6, long_texts="truncate"))
    with pytest.raises(InvalidParameterError, match="cut"):
        seen.looks_at("far")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_has_words_that_take_all_the_attention(text, embedder):
    """Whatever the characters, words cover every piece once, and each word can be asked for."""
    seen = attention(text, embedder)
    units = seen._units()
    assert sorted(place for unit in units for place in unit.places) == list(range(len(seen.pieces)))
    assert len(set(seen.words)) == len(seen.words) or "[" in text
    for unit in units:
        side, (start, end) = seen.sides[unit.places[0]], seen.spans[unit.places[0]]
        if side >= 0 and start < end and unit.label in text:
            assert text[start:end]
    assert seen.looks_at("[CLS]").sum() == pytest.approx(1, abs=1e-5)


def test_a_map_is_frozen_short_to_read_and_can_be_pickled(embedder):
    """Its repr says what it holds; no attribute can be set; a pickle has all of it."""
    seen = attention(TEXT, embedder, layer=1)
    assert repr(seen).startswith("AttentionMap(1 of 2 layers, 4 heads, ")
    assert len(repr(seen)) < 120
    with pytest.raises(AttributeError):
        seen.layers = (0,)
    copy = pickle.loads(pickle.dumps(seen))
    assert isinstance(copy, AttentionMap)
    assert np.array_equal(copy.weights, seen.weights)
    assert copy.looks_at("dog").equals(seen.looks_at("dog"))
    assert repr(copy) == repr(seen)


def test_nothing_global_changes_and_nothing_is_random(embedder, global_state):
    """The same call gives the same weights, also from several threads, and seeds and settings stay as they were."""
    first = attention(TEXT, embedder).weights
    found = []
    threads = [threading.Thread(target=lambda: found.append(attention(TEXT, embedder).weights)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(np.array_equal(weights, first) for weights in found)
    global_state.assert_unchanged()


# Families whose weights would be none, or a wrong answer: (sizes, what the error says).
WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
REFUSED = {
    "fnet": (WIDE, "FNetModel.*returned none"),
    # at a length of the window + 1 its weights are square, and those of other pieces
    "longformer": (WIDE | {"attention_window": 8}, "LongformerModel.*shapes"),
    "big_bird": (WIDE | {"block_size": 4, "num_random_blocks": 1}, "BigBirdModel.*blocks"),
    # half of its heads are convolutions
    "convbert": (WIDE | {"embedding_size": 32}, "ConvBertModel.*2 layers with 2 heads"),
    "yoso": (WIDE, "YosoModel.*shapes"),
    "mra": (WIDE, "MraModel.*returned none"),
    # it returns them before the softmax
    "squeezebert": (WIDE | {"embedding_size": 32}, "SqueezeBertModel.*sum to 1"),
    "nystromformer": (
        WIDE | {"num_landmarks": 4, "segment_means_seq_len": 64},
        "NystromformerModel.*attention weights",
    ),
    "mamba": ({"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, "MambaModel.*attention"),
}


@pytest.mark.parametrize("family", REFUSED)
def test_families_without_such_weights_are_refused_by_name(family, tmp_path):
    """At any length, also where what they return has the right shape by chance."""
    sizes, message = REFUSED[family]
    tokenizer = _TOKENIZERS["bert"]()
    tokenizer.save_pretrained(tmp_path)
    settings_of = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "max_position_embeddings": 66}
    with torch.random.fork_rng(devices=[]):
        config = AutoConfig.for_model(family, **settings_of | sizes)
        model = AutoModel.from_config(config)
    _randomise(model, 0, 0.3)
    model.save_pretrained(tmp_path)
    embedder = BertEmbedder(str(tmp_path), max_length=64)
    for text in ("the dog ran to the house .", "the dog " * 20, ""):  # nine tokens, 42 and two
        with pytest.raises(ModelFilesError, match=message):
            attention(text, embedder)


def test_a_matrix_holds_the_table(pyplot, embedder):
    """Weights as they are, pieces on both axes, a title that names layers and heads, a scale from 0."""
    display = AttentionDisplay.from_estimator(embedder, TEXT, layer=1, head=2)
    seen = attention(TEXT, embedder, layer=1, head=2)
    np.testing.assert_array_equal(display.im_.get_array(), seen.to_frame())
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == list(seen.pieces)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == list(seen.pieces)
    assert display.ax_.get_title() == "Attention, layer 1, head 2"
    assert display.im_.get_clim()[0] == 0
    assert display.im_.get_cmap().name == "cividis"
    assert display.colorbar_.ax.get_ylabel() == "attention"
    assert display.bars_ is None
    assert display.figure_ is display.ax_.figure
    assert isinstance(display, AttentionDisplay)


def test_special_tokens_can_be_left_out_but_not_in_silence(pyplot, embedder):
    """What is left keeps its values, and the axis says what the others get."""
    seen = attention(TEXT, embedder)
    table = seen.to_frame().to_numpy()
    display = AttentionDisplay.from_map(seen, special_tokens=False)
    np.testing.assert_array_equal(display.im_.get_array(), table[1:-1, 1:-1])
    share = table[1:-1][:, [0, -1]].sum(axis=1).mean()
    assert f"[CLS], [SEP], which get {share:.0%} of the attention" in display.ax_.get_xlabel()
    bars = AttentionDisplay.from_map(seen, word="dog", special_tokens=False)
    looks = seen.looks_at("dog")
    np.testing.assert_array_equal([bar.get_width() for bar in bars.bars_], looks.iloc[1:-1])
    assert f"which get {looks.iloc[[0, -1]].sum():.0%} of" in bars.ax_.get_xlabel()
    with pytest.raises(InvalidParameterError, match="'special_tokens' parameter of AttentionDisplay must be True"):
        AttentionDisplay.from_map(attention("", embedder), special_tokens=False)


def test_bars_show_where_a_word_looks(pyplot, embedder):
    """A bar a word in reading order from above; special tokens are grey."""
    seen = attention(TEXT, embedder)
    display = AttentionDisplay.from_map(seen, word="it", layer=0)
    np.testing.assert_array_equal([bar.get_width() for bar in display.bars_], seen.looks_at("it", layer=0))
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == seen.words
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_title() == "Where “it” looks, layer 0, mean of all 4 heads"
    colours = [bar.get_facecolor() for bar in display.bars_]
    assert [colour == colours[0] for colour in colours] == [word in ("[CLS]", "[SEP]") for word in seen.words]
    assert display.im_ is None


def test_an_overview_marks_the_head_that_looks_most(pyplot, embedder):
    """It has a cell a layer and head, and a frame around the largest, which the title names."""
    seen = attention(TEXT, embedder)
    table = seen.by_head("it", "house")
    display = AttentionDisplay.from_map(seen, word="it", other="house")
    np.testing.assert_array_equal(display.im_.get_array(), table)
    row, column = np.unravel_index(table.to_numpy().argmax(), table.shape)
    (frame,) = display.ax_.patches
    assert (frame.get_x(), frame.get_y()) == (column - 0.5, row - 0.5)
    assert f"in layer {row}, head {column}" in display.ax_.get_title()
    part = AttentionDisplay.from_map(seen, word="it", other="house", layer=-1, head=(2, 0))
    np.testing.assert_array_equal(part.im_.get_array(), table.loc[[1], [2, 0]])
    with pytest.raises(InvalidParameterError, match="'other' parameter of AttentionDisplay"):
        AttentionDisplay.from_map(seen, other="house")


def test_draws_into_given_axes_and_again(pyplot, embedder):
    """No new figure then; keywords reach the artists; the constructor draws nothing."""
    figure, ax = pyplot.subplots()
    display = AttentionDisplay.from_estimator(embedder, TEXT, ax=ax, cmap="viridis")
    assert display.ax_ is ax
    assert display.im_.get_cmap().name == "viridis"
    assert pyplot.get_fignums() == [figure.number]
    plain = AttentionDisplay(weights=np.array([0.25, 0.75]), column_labels=["a", "b"])
    assert not hasattr(plain, "ax_")
    assert plain.plot(title="mine") is plain
    assert plain.ax_.get_title() == "mine"
    first = plain.ax_
    assert plain.plot(color="black").ax_ is not first
    assert plain.bars_[0].get_facecolor() == (0, 0, 0, 1)


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
@pytest.mark.parametrize(
    "text",
    ["שלום עולם مرحبا بالعالم", "$x$ and $\\frac{ 100% _ ^", "a\x07b \u202eabc\u202c 好 👩‍🚀 e\u0301", "the dog " * 28],
    ids=["right to left", "mathtext", "control", "long"],
)
def test_any_text_can_be_drawn(text, pyplot, embedder):
    """Signs of formulas, of control and of direction are written as they are, or escaped; long texts thin out."""
    seen = attention(text, embedder)
    for how in ({}, {"word": "[CLS]"}, {"word": "[CLS]", "other": "[SEP]"}):
        display = AttentionDisplay.from_map(seen, **how)
        display.figure_.canvas.draw()
        drawn = [label.get_text() for label in display.ax_.get_yticklabels()]
        assert len(drawn) <= 60
        assert not any(sign in label for label in drawn for sign in "\x07\u202e\u202c")
    labels = AttentionDisplay.from_map(seen).ax_.get_xticklabels()
    assert len(labels) <= 31
    step = -(-len(seen.pieces) // len(labels))
    assert [label.get_text() for label in labels] == list(seen.pieces[::step])
    if step > 1:
        assert [label.get_position()[0] for label in labels] == list(range(0, len(seen.pieces), step))


def test_labels_escape_what_cannot_be_seen(pyplot):
    """Control characters and marks of direction become their code; joiners of emoji stay; long labels are cut."""
    display = AttentionDisplay(weights=np.ones(3) / 3, column_labels=["a"] * 3).plot()
    assert len(display.ax_.get_yticklabels()) == 3
    readable = sys.modules[AttentionDisplay.__module__]._readable
    assert readable("a\x07\u202eb") == "a\\u0007\\u202eb"
    assert readable("👩‍🚀") == "👩‍🚀"
    assert readable("x" * 30) == "x" * 19 + "…"


def test_missing_matplotlib_is_told(monkeypatch, embedder):
    """Without matplotlib the error names the extra to install; the weights need none."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    attention(TEXT, embedder)
    with pytest.raises(ImportError, match=r"requires matplotlib. Install it with: pip install 'skbert\[plot\]'"):
        AttentionDisplay.from_estimator(embedder, TEXT)


@pytest.mark.parametrize("name", ["attention", "AttentionMap", "AttentionDisplay"])
def test_examples_of_the_docstrings_run(name, minilm, pyplot, capsys):
    """Each public name has examples, and each gives what is printed."""
    public = getattr(inspection, name)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (examples,) = finder.find(public, name, module=inspect.getmodule(public), globs={})
    assert examples.examples
    runner.run(examples)
    assert runner.failures == 0, capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["no", None, 2])
def test_special_tokens_is_true_or_false(tiny_bert_folder, wrong):
    """Anything else is refused by name."""
    with pytest.raises(InvalidParameterError, match="The 'special_tokens' parameter of AttentionDisplay must be"):
        AttentionDisplay.from_estimator(BertEmbedder(tiny_bert_folder), "a good day", special_tokens=wrong)


def test_the_embedder_of_a_fitted_search_is_looked_into(tiny_bert_folder):
    """What a search has found stands for it; and a name alone is told what to do."""
    pipe = make_pipeline(BertEmbedder(tiny_bert_folder), LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [1.0]}, cv=2)
    search.fit(["a good day", "a bad day", "good", "bad"], [1, 0, 1, 0])
    expected = attention("a good day", pipe).weights
    np.testing.assert_array_equal(attention("a good day", search).weights, expected)
    with pytest.raises(InvalidParameterError, match=r"A name is a model's: pass BertEmbedder\('some-model'\)"):
        attention("a good day", "some-model")
