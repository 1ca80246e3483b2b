"""Law 1: packed equals the plain padded forward; and whether a model packs is found out, never assumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version

from skbert import BertEmbedder, release_models
from skbert._engine.devices import half_bound
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert._engine.stack import LayerStack
from skbert.exceptions import ModelFilesError
from tests._models import FAMILIES, build_tiny_model
from tests._reference import padded_vectors, relative_difference

PACKABLE = ("bert", "roberta", "xlm-roberta", "distilbert", "electra")
# Up to 5.6, transformers' ModernBERT undoes the padding by itself and takes no attention function.
if Version(transformers.__version__) >= Version("5.7"):
    PACKABLE = (*PACKABLE, "modernbert")
TEXTS = [
    "the bat flies at night",
    "a",
    "",
    "we want better jobs and a strong economy, now!",
    "the cup was full until i put it down; it was empty then.",
    "no.",
    "the bat flies at night",  # a copy
    "who won? who lost? who cares...",
    "to my surprise the moderator asked a fair question about tax policy, and nobody had an honest answer to it",
    "what a night",
]
PAIRS = [("who won", "nobody won tonight"), ("a", "b"), ("the cup is full", ""), ("", "so it is"), ("it is", "it was")]


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_packed_vectors_equal_plain_padded_transformers(tiny_model, family, pooling):
    """In float32 every family, packed or not, gives the padded eager forward's vectors within 1e-5."""
    folder = tiny_model(family)
    found = BertEmbedder(folder, pooling=pooling, device="cpu", cache=None).transform(TEXTS)
    assert relative_difference(found, padded_vectors(folder, TEXTS, pooling=pooling)) < 1e-5


@pytest.mark.parametrize(
    ("kind", "settings"), [("albert", {"embedding_size": 16}), ("big_bird", {"attention_type": "original_full"})]
)
def test_families_that_go_on_computing_with_their_pooler_are_embedded_too(tmp_path, kind, settings):
    """They call their pooler, which is taken out, without asking whether it is there."""
    folder = build_tiny_model(tmp_path, "bert")
    sizes = dict.fromkeys(("hidden_size", "intermediate_size"), 32) | {"num_attention_heads": 4}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(transformers.AutoTokenizer.from_pretrained(folder)),
        num_hidden_layers=2,
        **sizes,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    found = BertEmbedder(folder, pooling="mean", device="cpu", cache=None).transform(TEXTS)
    assert relative_difference(found, padded_vectors(folder, TEXTS)) < 1e-5


def test_every_hidden_layer_equals_transformers(tiny_model, family):
    """Layers are counted as in hidden_states, from the embeddings on, from both ends, side by side as asked."""
    folder = tiny_model(family)
    n_layers = resolve_model(folder).n_layers
    layers = [*range(n_layers + 1), -1, -2]
    found = BertEmbedder(folder, layers=layers, pooling="mean", device="cpu", cache=None).transform(TEXTS)
    for k, layer in enumerate(layers):
        block = found[:, 32 * k : 32 * (k + 1)]
        assert relative_difference(block, padded_vectors(folder, TEXTS, layer=layer)) < 1e-5


def test_pairs_equal_transformers_pairs(tiny_model, family):
    """A pair is the family's own input of two texts, segments included, longest side cut first."""
    folder = tiny_model(family)
    found = BertEmbedder(folder, pooling="mean", device="cpu", cache=None).transform(PAIRS)
    assert relative_difference(found, padded_vectors(folder, PAIRS)) < 1e-5
    long = [(" ".join(["night"] * a), " ".join(["fair"] * b)) for a, b in [(50, 50), (3, 80), (80, 3), (33, 30)]]
    short = BertEmbedder(folder, pooling="mean", max_length=40, long_texts="truncate", device="cpu", cache=None)
    assert relative_difference(short.transform(long), padded_vectors(folder, long, max_length=40)) < 1e-5


def test_long_texts_are_cut_as_transformers_cuts(tiny_model, family):
    """Truncation at max_length gives what the tokenizer's own truncation gives."""
    folder = tiny_model(family)
    texts = [" ".join(TEXTS), *TEXTS]
    cut = BertEmbedder(folder, pooling="mean", max_length=12, long_texts="truncate", device="cpu", cache=None)
    assert relative_difference(cut.transform(texts), padded_vectors(folder, texts, max_length=12)) < 1e-5


@pytest.mark.parametrize("batch_tokens", [1, 7, 64, 100_000])
def test_the_budget_does_not_change_vectors(tiny_bert_folder, batch_tokens):
    """Whatever falls into one batch, the vectors are the same."""
    whole = BertEmbedder(tiny_bert_folder, cache=None, device="cpu").transform(TEXTS)
    parts = BertEmbedder(tiny_bert_folder, cache=None, device="cpu", batch_tokens=batch_tokens).transform(TEXTS)
    assert relative_difference(parts, whole) < 1e-5


def test_which_families_pack(tiny_model, family):
    """The six families that can be packed are; MPNet and DeBERTa run padded through the same engine."""
    encoder = get_encoder(resolve_model(tiny_model(family)), torch.device("cpu"), torch.float32)
    assert encoder.packs == (family in PACKABLE)
    if encoder.packs:  # ModernBERT has its own layers
        assert encoder.form == ("packed" if family == "modernbert" else "stack")


@pytest.mark.parametrize(("broken", "form"), [("stack", "packed"), ("packed", "stack"), ("both", "padded")])
def test_packing_is_verified_and_not_assumed(tmp_path, monkeypatch, broken, form):
    """Where packed attention is wrong for a model, the comparison on load finds out, and another form runs."""
    from skbert._engine import attention, encoder as encoder_module, stack

    folder = build_tiny_model(tmp_path, "bert", seed=7)
    expected = padded_vectors(folder, TEXTS)

    def blind(*args, skbert_layout=None, **kwargs):  # lets every text attend to its neighbours
        return attention.packed_attention(*args, **kwargs)

    def blind_stack(query, key, value, layout, *args):
        whole = attention.PackedLayout(layout.lengths, [(0, 1, len(key))], layout.borders, len(key), varlen=False)
        return attention.attend(query, key, value, whole, *args)

    def register_blind():
        from transformers import AttentionInterface

        AttentionInterface.register(attention.PACKED, blind)

    if broken != "packed":
        monkeypatch.setattr(stack, "attend", blind_stack)
    if broken != "stack":
        monkeypatch.setattr(encoder_module, "register_packed_attention", register_blind)
    try:
        encoder = encoder_module.Encoder(resolve_model(folder), torch.device("cpu"), torch.float32)
        assert encoder.form == form
        assert encoder.packs == (form != "padded")
        found = BertEmbedder(folder, cache=None, device="cpu")
        monkeypatch.setattr("skbert._engine.encode.get_encoder", lambda *args: encoder)
        assert relative_difference(found.transform(TEXTS), expected) < 1e-5
    finally:
        attention.register_packed_attention()


def test_other_layers_than_berts_are_left_to_transformers(tmp_path):
    """A layer with a part that skbert's own forward does not know, or another activation, is computed as it is."""
    for activation, form in [("gelu_new", "stack"), ("relu", "stack"), ("gelu", "stack")]:
        folder = build_tiny_model(tmp_path / activation, "bert", seed=3, hidden_act=activation)
        encoder = get_encoder(resolve_model(folder), torch.device("cpu"), torch.float32)
        assert encoder.form == form
        found = BertEmbedder(folder, cache=None, device="cpu", pooling="mean").transform(TEXTS)
        assert relative_difference(found, padded_vectors(folder, TEXTS)) < 1e-5
    release_models()


def test_layers_that_see_less_of_a_long_text_are_no_bert(tmp_path):
    """Longformer's layers hold all that BERT's do, and do the same on a text within their window."""
    settings = {"attention_window": 128, "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2}
    settings |= {"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 600, "pad_token_id": 1}
    folder = build_tiny_model(tmp_path, "roberta", seed=4)
    config = transformers.AutoConfig.for_model("longformer", **settings)
    assert LayerStack.of(transformers.AutoModel.from_config(config)) is None
    model = transformers.AutoModel.from_config(config)
    model.config.attention_window = 0  # nor where only their parts tell them apart
    assert LayerStack.of(model) is None
    assert LayerStack.of(transformers.AutoModel.from_pretrained(folder)) is not None


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_only_first_tokens_are_computed_where_only_they_are_asked_for(tiny_model, family, pooling, monkeypatch):
    """The shorter way through the highest layer gives the same vectors, for one layer and for several."""
    folder = tiny_model(family)
    if pooling == "pooler" and not resolve_model(folder).has_pooler:
        pytest.skip("has no pooler")
    n_layers = resolve_model(folder).n_layers
    for layers in [-1] if pooling == "pooler" else [-1, 0, 1, (-1, 1), (0, -1)]:
        short = BertEmbedder(folder, layers=layers, pooling=pooling, normalize=False, device="cpu", cache=None)
        for dtype, bound in (("float32", 1e-5), ("bfloat16", half_bound(torch.bfloat16))):
            found = short.set_params(dtype=dtype).transform(TEXTS)
            for k, layer in enumerate(np.atleast_1d(layers)):
                expected = padded_vectors(folder, TEXTS, pooling=pooling, layer=int(layer) % (n_layers + 1))
                block = found[:, 32 * k : 32 * (k + 1)]
                if (pooling, dtype) == ("pooler", "bfloat16"):  # one product more, over which no bound was promised
                    cosines = (
                        (block * expected).sum(1) / np.linalg.norm(block, axis=1) / np.linalg.norm(expected, axis=1)
                    )
                    assert cosines.min() > 0.999
                else:
                    assert relative_difference(block, expected) < bound


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_probes_are_long_wherever_the_padding_stands(tmp_path, family):
    """A padding id beyond the positions, as ModernBERT's own 50283, leaves probes in which tokens attend."""
    folder = build_tiny_model(tmp_path, family, seed=11)
    raw = json.loads((folder / "config.json").read_text())
    raw |= {"pad_token_id": raw["vocab_size"] - 1, "max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(raw | ({"is_decoder": True} if family == "bert" else {})))
    encoder = get_encoder(resolve_model(folder), torch.device("cpu"), torch.float32)
    assert encoder._probes(64).lengths.tolist() == [64, 42, 19, 11, 11, 5]
    assert encoder.packs == (family in PACKABLE and family != "bert")  # a decoder's tokens see only those before them


def test_a_clipped_gelu_is_not_taken_for_gelu(tmp_path):
    """It differs only where the inner states exceed 10."""
    folder = build_tiny_model(tmp_path, "bert", seed=12, std=3.0, hidden_act="gelu_10")
    found = BertEmbedder(folder, cache=None, device="cpu", pooling="mean").transform(TEXTS)
    assert relative_difference(found, padded_vectors(folder, TEXTS)) < 1e-5


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta"])
def test_a_written_pad_has_no_position_of_its_own(tiny_model, name):
    """These families count positions over what is no padding, also where somebody wrote it."""
    texts = ["who <pad> won the debate", "<pad>", "a <pad> <pad> b", *TEXTS]
    found = BertEmbedder(tiny_model(name), cache=None, device="cpu", pooling="cls").transform(texts)
    one_by_one = [padded_vectors(tiny_model(name), [text], pooling="cls") for text in texts]
    assert relative_difference(found, np.concatenate(one_by_one)) < 1e-5


def test_a_model_that_is_no_encoder_is_named(tmp_path):
    """What reads no texts alone is an error of the files, not one of transformers' innards."""
    folder = build_tiny_model(tmp_path, "bert", seed=13)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 4, "vocab_size": 600}
    config = transformers.AutoConfig.for_model("t5", **size)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    with pytest.raises(ModelFilesError, match="does not run on texts alone"):
        BertEmbedder(folder, cache=None, device="cpu", pooling="mean").transform(["a"])


def test_a_model_for_another_device_is_first_compared_where_it_was_read(tiny_bert_folder, monkeypatch):
    """The strict comparison is one in float32 on the CPU; "meta" stands for a device, and computes nothing."""
    from skbert._engine import encoder as encoder_module

    compare, calls = encoder_module.Encoder._first_right, []

    def watched(self, *args):
        device, dtype = self.device, self.dtype
        parameter = next(self._model.parameters())
        assert (parameter.device, parameter.dtype) == (device, dtype)
        form = "stack" if device.type == "meta" else compare(self, *args)
        calls.append((device.type, dtype, form))
        return form

    monkeypatch.setattr(encoder_module.Encoder, "_first_right", watched)
    files = resolve_model(tiny_bert_folder)
    encoder = encoder_module.Encoder(files, torch.device("meta"), torch.bfloat16)
    assert calls == [("cpu", torch.float32, "stack"), ("meta", torch.bfloat16, "stack")]
    assert (encoder.device.type, encoder.dtype) == ("meta", torch.bfloat16)
    batch = encoder._probes(files.limit)
    with torch.inference_mode():
        layout, inputs = encoder._inputs(batch)
        assert {tensor.device.type for tensor in inputs.values()} == {"meta"}
        assert layout.borders.device.type == "meta"
        for first_only in (False, True):
            for _, states in encoder._states(batch, layout, inputs, {0, 1, 2}, first_only):
                for pooling in ("cls", "pooler") if first_only else ("mean", "cls", "max", "pooler"):
                    pooled = encoder._pool(states, layout, pooling)
                    assert (pooled.device.type, pooled.shape) == ("meta", (len(batch), 32))


def test_memory_that_runs_short_on_load_is_told(tmp_path, monkeypatch):
    """It does not quietly choose another form, with other bits, for as long as the process lives."""
    folder = build_tiny_model(tmp_path, "bert", seed=9)

    def never(model):
        msg = "CUDA out of memory (made up)"
        raise torch.OutOfMemoryError(msg)

    monkeypatch.setattr(LayerStack, "of", never)
    with pytest.raises(torch.OutOfMemoryError):
        BertEmbedder(folder, device="cpu", cache=None).transform(["a"])
    monkeypatch.undo()
    assert get_encoder(resolve_model(folder), torch.device("cpu"), torch.float32).form == "stack"


def test_probe_texts_do_not_count_as_embedded(tmp_path):
    """The comparison on load runs at most 6 texts, none of which is counted."""
    from skbert._engine import encoder as encoder_module

    assert len(encoder_module._PROBE_LENGTHS) <= 6
    folder = build_tiny_model(tmp_path, "bert", seed=8)
    encoder = get_encoder(resolve_model(folder), torch.device("cpu"), torch.float32)
    assert encoder.n_texts == 0
    BertEmbedder(folder, cache=None, device="cpu").transform(TEXTS)
    assert encoder.n_texts == len(set(TEXTS))


def test_a_padded_call_under_the_packed_name_keeps_its_mask(tiny_bert_folder):
    """Without its own mask function transformers would drop the padding mask of such a call and say nothing."""
    from transformers import AutoModel, AutoTokenizer

    from skbert._engine.attention import PACKED, register_packed_attention

    register_packed_attention()
    batch = AutoTokenizer.from_pretrained(tiny_bert_folder)(TEXTS, padding=True, return_tensors="pt")
    outputs = [
        AutoModel.from_pretrained(tiny_bert_folder, attn_implementation=name).eval()(**batch).last_hidden_state[:, 0]
        for name in ("eager", PACKED)
    ]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", PACKABLE)
def test_half_precision_keeps_its_own_bound(tiny_model, family, dtype):
    """The halves stay within the bound written down for them, packed against padded in the same dtype."""
    folder = tiny_model(family)
    encoder = get_encoder(resolve_model(folder), torch.device("cpu"), getattr(torch, dtype))
    assert encoder.packs  # verified against the padded form on load, with this bound
    found = BertEmbedder(folder, pooling="mean", dtype=dtype, device="cpu", cache=None).transform(TEXTS)
    assert found.dtype == np.float32
    difference = relative_difference(found, padded_vectors(folder, TEXTS))
    assert 1e-6 < difference < half_bound(getattr(torch, dtype))


def test_minilm_equals_sentence_transformers(minilm):
    """pooling="auto" on all-MiniLM-L6-v2 is SentenceTransformer.encode, within 1e-5."""
    from sentence_transformers import SentenceTransformer

    texts = [
        "RT @someone: What a night! #debate http://t.co/x…",
        "😀 naïve café — “quotes”",
        "",
        "word " * 400,  # longer than its 256 tokens
        "The bat flew out of the cave.",
        "He hit the ball with his bat.",
    ]
    peer = SentenceTransformer(str(resolve_model(minilm).folder), device="cpu")
    found = BertEmbedder(minilm, long_texts="truncate", device="cpu", cache=None).transform(texts)
    np.testing.assert_allclose(found, peer.encode(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
