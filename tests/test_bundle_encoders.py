"""The frozen models of a bundle: copied once and whole, or referred to; the one in use, and no other."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    release_models,
)
from skbert._bundle import load_bundle, save_bundle
from skbert._engine.sources import resolve_model
from skbert.exceptions import FingerprintError, ModelNotFoundError
from tests._bundles import FEW, X, Y, classifier, embedder, forge, fresh_proba, names_in, same_bits
from tests._models import FAMILIES, build_tiny_model


@pytest.fixture
def model(tmp_path):
    """Return a folder with a model of this test's own, which the test may remove."""
    return build_tiny_model(tmp_path / "model", seed=5)


# -- encoders ------------------------------------------------------------------------------------------------------


def test_a_model_is_copied_once(model, tmp_path):
    """However many embedders use it, under whatever path, inside a part of skops and outside; another is another."""
    twin = shutil.copytree(model, tmp_path / "twin")
    other = build_tiny_model(tmp_path / "other", seed=6)
    members = [("a", classifier(model)), ("b", make_pipeline(embedder(twin), LogisticRegression()))]
    members.append(("c", make_pipeline(embedder(other), LogisticRegression())))
    calibrated = CalibratedClassifierCV(VotingClassifier(members, voting="soft"), cv=2).fit(X, Y)
    expected = fresh_proba(calibrated)
    folder = save_bundle(calibrated, tmp_path / "bundle")
    assert sorted(path.name for path in (folder / "encoders").iterdir()) == ["0", "1"]
    for gone in (model, twin, other):
        shutil.rmtree(gone)
    assert same_bits(fresh_proba(load_bundle(folder)), expected)


def test_an_embedder_in_a_function_or_a_column_is_found(model, tmp_path):
    """A bound method, and columns of a frame."""
    frame = pd.DataFrame({"text": X, "number": np.arange(24.0)})
    columns = make_column_transformer((embedder(model), "text"), (StandardScaler(), ["number"]))
    for name, pipeline, data in (
        ("columns", make_pipeline(columns, LogisticRegression()), frame),
        ("method", make_pipeline(FunctionTransformer(embedder(model).transform), LogisticRegression()), X),
    ):
        expected = fresh_proba(pipeline.fit(data, Y), data)
        folder = save_bundle(pipeline, tmp_path / name)
        release_models()
        hidden = model.rename(tmp_path / "hidden")
        trusted = [f"{BertEmbedder.__module__}.BertEmbedder.transform"] if name == "method" else None
        assert same_bits(fresh_proba(load_bundle(folder, trusted=trusted), data), expected)
        hidden.rename(model)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # transformers 5.0, as it imports two families
@pytest.mark.parametrize("family", FAMILIES)
def test_the_copy_is_the_same_model_in_every_family(family, tiny_model, tmp_path):
    """Tokenizers differ in their files; the copy has the fingerprint, the limit and the settings of the original."""
    folder = tiny_model(family)
    copied = save_bundle(embedder(folder), tmp_path / "bundle") / "encoders" / "0"
    ours, theirs = resolve_model(copied), resolve_model(folder)
    assert ours._replace(name="", folder="", weights=()) == theirs._replace(name="", folder="", weights=())


def test_what_sentence_transformers_says_comes_along(model, tmp_path):
    """Pooling, scaling, length and prompt decide vectors; the weights may lie in a folder of their own."""
    outer = tmp_path / "outer"
    shutil.move(model, outer / "0_Transformer")
    modules = [("0", "0_Transformer", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    files = {
        "modules.json": [{"idx": int(n), "name": n, "path": path, "type": f"st.{kind}"} for n, path, kind in modules],
        "1_Pooling/config.json": {"pooling_mode_cls_token": True},
        "0_Transformer/sentence_bert_config.json": {"max_seq_length": 12},
        "config_sentence_transformers.json": {"prompts": {"q": "good: "}, "default_prompt_name": "q"},
    }
    for name, content in files.items():
        (outer / name).parent.mkdir(exist_ok=True)
        (outer / name).write_text(json.dumps(content))
    (outer / "LICENSE").write_text("as you like")
    source = embedder(outer, long_texts="truncate", cache=None)
    expected, settings = source.transform(X), resolve_model(outer).settings
    assert (settings.pooling, settings.prompt, settings.max_seq_length) == ("cls", "good: ", 12)
    folder = save_bundle(source, tmp_path / "bundle")
    shutil.rmtree(outer)
    release_models()
    assert same_bits(load_bundle(folder).transform(X), expected)
    assert "encoders/0/LICENSE" in names_in(folder)


def test_weights_in_several_files(model, tmp_path):
    """A large model comes in shards, with an index."""
    from transformers import AutoModel

    AutoModel.from_pretrained(model).save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, tmp_path / "shards")
    expected = embedder(tmp_path / "shards", cache=None).transform(X)
    folder = save_bundle(embedder(tmp_path / "shards", cache=None), tmp_path / "bundle")
    assert len(list((folder / "encoders" / "0").glob("model-*.safetensors"))) > 1
    shutil.rmtree(tmp_path / "shards")
    release_models()
    assert same_bits(load_bundle(folder).transform(X), expected)


def test_a_real_model_that_a_package_carries(minilm, tmp_path):
    """Its copy is the published file, needs no package, and keeps the model's own pooling and length."""
    folder = save_bundle(BertEmbedder(minilm), tmp_path / "bundle")
    copied, original = resolve_model(load_bundle(folder).model), resolve_model(minilm)
    assert copied.folder.is_relative_to(folder)
    assert (copied.fingerprint, copied.settings) == (original.fingerprint, original.settings)
    assert copied.default_length == 256


def test_no_embedder_is_the_default_one(tmp_path, monkeypatch):
    """`embedder=None` would look for its model under a name; in the bundle it is the embedder that it stands for."""
    monkeypatch.chdir(tmp_path)
    deep = build_tiny_model(tmp_path / "google-bert" / "bert-base-uncased", num_hidden_layers=4)
    plain = BertSentimentClassifier(**FEW).fit(X, Y)
    expected = fresh_proba(plain)
    folder, again = save_bundle(plain, "fitted"), save_bundle(BertSentimentClassifier(**FEW), "unfitted")
    shutil.rmtree(deep)
    loaded = load_bundle(folder)
    assert same_bits(fresh_proba(loaded), expected)
    assert loaded.embedder.layers == (-4, -3, -2, -1)
    assert load_bundle(again).embedder.model == str(again / "encoders" / "0")
    assert plain.embedder is None


def test_a_classifier_that_was_pointed_elsewhere(model, tmp_path):
    """The model in use is copied, not the one of the fit, which may be gone; other weights are refused."""
    fitted = classifier(model).fit(X, Y)
    expected = fresh_proba(fitted)
    fitted.set_params(embedder__model=str(model.rename(tmp_path / "elsewhere")))
    folder = save_bundle(fitted, tmp_path / "bundle")
    assert same_bits(fresh_proba(load_bundle(folder)), expected)
    fitted.set_params(embedder__model=str(build_tiny_model(tmp_path / "other", seed=9)))
    with pytest.raises(FingerprintError, match="was fitted with"):
        save_bundle(fitted, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


# -- by reference --------------------------------------------------------------------------------------------------


def test_a_reference_is_small_and_absolute(model, tmp_path, monkeypatch):
    """A relative path would mean another folder elsewhere; nothing of the model is in the bundle."""
    monkeypatch.chdir(tmp_path)
    fitted = classifier("model").fit(X, Y)
    expected = fresh_proba(fitted)
    folder = save_bundle(fitted, "bundle", encoder="reference")
    assert names_in(folder) == ["arrays.safetensors", "bundle.json"]
    monkeypatch.chdir("/")
    loaded = load_bundle(folder)
    assert loaded.embedder.model == loaded.embedder_.model == str(model)
    assert same_bits(fresh_proba(loaded), expected)
    written = json.loads((folder / "bundle.json").read_text())["encoders"][0]
    assert written["fingerprint"] == fitted.embedder_.fingerprint_


def test_a_reference_that_leads_nowhere_can_be_pointed_elsewhere(model, tmp_path):
    """As with a pickle: loading works, use names the model, and `set_params` mends it."""
    folder = save_bundle(classifier(model).fit(X, Y), tmp_path / "bundle", encoder="reference")
    model.rename(tmp_path / "moved")
    loaded = load_bundle(folder)
    with pytest.raises(ModelNotFoundError, match="could not be had"):
        loaded.predict(X)
    assert len(loaded.set_params(embedder__model=str(tmp_path / "moved")).predict(X)) == 24


@pytest.mark.parametrize("kind", ["embedder", "classifier", "fitted embedder", "fitted classifier"])
def test_a_reference_is_to_these_weights(kind, model, tmp_path):
    """Others under the same name are refused: at once where nothing was fitted, else by the fit, when it is used."""
    estimator = classifier(model) if "classifier" in kind else make_pipeline(embedder(model))
    use = (lambda loaded: loaded.predict(X)) if "classifier" in kind else (lambda loaded: loaded.transform(X))
    if "fitted" in kind:
        estimator.fit(X, Y)
    folder = save_bundle(estimator, tmp_path / "bundle", encoder="reference")
    former = resolve_model(model).fingerprint
    kept = shutil.copytree(model, tmp_path / "kept")
    shutil.copy(build_tiny_model(tmp_path / "other", seed=9) / "model.safetensors", model)
    others = resolve_model(model).fingerprint
    with pytest.raises(FingerprintError) as error:
        use(load_bundle(folder))
    assert former in str(error.value)
    assert others in str(error.value)
    if "fitted" in kind:  # and can be pointed to the former ones
        name = "embedder__model" if "classifier" in kind else "bertembedder__model"
        assert len(use(load_bundle(folder).set_params(**{name: str(kept)}))) == 24
    (model / "config.json").unlink()
    load_bundle(folder)  # which is no model at all, so that its use will say so


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/no/such/folder", "a/b/c"])
def test_a_reference_that_is_not_here_asks_no_network_when_loaded(name, model, tmp_path, monkeypatch):
    """The machine may have the model later, and elsewhere."""
    import huggingface_hub

    folder = save_bundle(embedder(model), tmp_path / "bundle", encoder="reference")
    forge(folder, lambda content: content["encoders"][0].update(model=name))
    real, asked = huggingface_hub.snapshot_download, []

    def watched(*args, **params):
        asked.append(params.get("local_files_only"))
        return real(*args, **params)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", watched)
    assert load_bundle(folder).model == name
    assert set(asked) <= {True}


def test_a_reference_to_a_package_is_compared_too(minilm, tmp_path):
    """A name that needs no network is here."""
    folder = save_bundle(BertEmbedder("all-MiniLM-L6-v2"), tmp_path / "bundle", encoder="reference")
    assert load_bundle(folder).model == "all-MiniLM-L6-v2"
    forge(folder, lambda content: content["encoders"][0].update(fingerprint="weights-sha256:0"))
    with pytest.raises(FingerprintError, match="weights-sha256:0\n"):
        load_bundle(folder)


def test_a_fit_keeps_its_model_where_only_the_weights_were_copied(model, tmp_path):
    """What sentence-transformers says is no part of the weights; the copy is of what is there now."""
    (model / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "st.Transformer"}]))
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    fitted = embedder(model, long_texts="truncate", cache=None).fit(X)
    expected = fitted.transform(X)
    (model / "sentence_bert_config.json").unlink()
    assert same_bits(fitted.transform(X), expected)
    folder = save_bundle(fitted, tmp_path / "bundle")
    release_models()
    assert same_bits(load_bundle(folder).transform(X), expected)
