"""Bundles that somebody made on purpose, with every digest right: refused before they show, read or fill anything."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import skops.io
from safetensors import safe_open
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import HeadClassifier, TextCleaner
from skbert._bundle import arrays, load_bundle, parts, save_bundle
from skbert.exceptions import BundleError, SkbertWarning
from tests._bundles import FEW, Y, embedder, forge, same_bits
from tests._models import build_tiny_model

SCRIPT = 'https://x/"><script>alert(1)</script>{estimator_name}'


# -- a script in a notebook ----------------------------------------------------------------------------------------

ATTRIBUTES = ["_doc_link_template", "__doc_link_template", "_doc_link_module", "_repr_html_", "_html_repr", "fit"]
METHODS = ["_doc_link_url_param_generator", "_repr_mimebundle_", "get_params", "get_metadata_routing"]


@pytest.mark.parametrize("name", [*ATTRIBUTES, *METHODS])
@pytest.mark.parametrize("estimator", [TextCleaner(), HeadClassifier(), make_pipeline(TextCleaner())], ids=repr)
def test_an_attribute_in_the_place_of_the_classes_is_refused(estimator, name, tmp_path):
    """scikit-learn shows a link as it is given; rules and methods decide what else is let through."""
    folder = save_bundle(estimator, tmp_path / "bundle")
    forge(folder, lambda content: content["estimator"]["state"].update({name: SCRIPT}))
    with pytest.raises(BundleError, match=f"has an attribute {name!r}"):
        load_bundle(folder)


def test_the_rules_for_parameters_are_the_classes(tmp_path):
    """With others, any value would pass."""
    folder = save_bundle(HeadClassifier(), tmp_path / "bundle")
    forge(folder, lambda content: content["estimator"]["state"].update(_parameter_rules={"is": "dict", "items": []}))
    with pytest.raises(BundleError, match="has an attribute '_parameter_rules'"):
        load_bundle(folder)


def forged_part(folder, step, change):
    """Write the part 0 of a bundle anew, with a change of the step in it."""
    path = folder / "parts/0.skops"
    part = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    change(step(part))
    skops.io.dump(part, path)
    return forge(folder)


@pytest.mark.parametrize("step", [lambda part: part, lambda part: part.estimators[0][1], lambda part: part.named["b"]])
@pytest.mark.parametrize("name", ["_doc_link_template", "_doc_link_module", "_sk_visual_block_", "fit", "_html_repr"])
def test_nor_is_it_taken_from_a_part_of_skops(name, step, tmp_path):
    """Of scikit-learn's own estimators, and of skbert's within them; saving refuses it too."""
    voting = VotingClassifier([("a", LogisticRegression()), ("b", HeadClassifier(**FEW))])
    voting.named = dict(voting.estimators)
    folder = save_bundle(voting, tmp_path / "bundle")
    forged_part(folder, step, lambda found: setattr(found, name, SCRIPT))
    with pytest.raises(BundleError, match=r"has an attribute '_*" + name.lstrip("_")):
        load_bundle(folder)
    setattr(step(voting), name, SCRIPT)
    with pytest.raises(BundleError, match=r"has an attribute .* Remove the attribute before saving"):
        save_bundle(voting, tmp_path / "again")


def test_callbacks_are_never_loaded(tmp_path):
    """No bundle has any, so that nothing may hide under their name."""
    folder = save_bundle(VotingClassifier([("a", LogisticRegression())]), tmp_path / "bundle")
    forged_part(folder, lambda part: part, lambda part: setattr(part, "_skl_callbacks", [TextCleaner()]))
    with pytest.raises(BundleError, match="has an attribute '_skl_callbacks'"):
        load_bundle(folder)


# -- files outside -------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path):
    """Return a model of the user's, which no bundle names."""
    return build_tiny_model(tmp_path / "home" / "secret", seed=7)


@pytest.fixture
def bundle(tiny_bert_folder, tmp_path):
    return save_bundle(embedder(tiny_bert_folder), tmp_path / "bundle")


def up(secret, bundle):
    return "../../../" + secret.relative_to(bundle.parent).as_posix()


@pytest.mark.parametrize("way", [up, lambda secret, bundle: str(secret)], ids=["relative", "absolute"])
def test_modules_json_leads_nowhere_else(way, bundle, secret):
    """The module that holds the weights is a folder within."""
    encoder = bundle / "encoders/0"
    module = {"idx": 0, "name": "0", "path": way(secret, bundle), "type": "sentence_transformers.models.Transformer"}
    (encoder / "modules.json").write_text(json.dumps([module]))
    (encoder / "config.json").unlink()
    with pytest.raises(BundleError, match=r"'modules\.json' names a file outside"):
        load_bundle(forge(bundle))


@pytest.mark.parametrize("way", [up, lambda secret, bundle: str(secret)], ids=["relative", "absolute"])
def test_an_index_of_weights_leads_nowhere_else(way, bundle, secret):
    """Nor does one in a folder below."""
    with safe_open(secret / "model.safetensors", "np") as file:
        index = {"weight_map": dict.fromkeys(file.keys(), way(secret, bundle) + "/model.safetensors")}
    (bundle / "encoders/0/0_Transformer").mkdir()
    for place in ("encoders/0", "encoders/0/0_Transformer"):
        path = bundle / place / "model.safetensors.index.json"
        path.write_text(json.dumps(index))
        with pytest.raises(BundleError, match=r"index\.json' names a file outside"):
            load_bundle(forge(bundle))
        path.unlink()
    load_bundle(forge(bundle))


@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "fast_tokenizer_files"])
def test_a_tokenizers_settings_lead_nowhere_else(key, bundle, secret):
    """Some versions of transformers open what is named there; what none opens may be any machine's path."""
    path = bundle / "encoders/0/tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "special_tokens_map_file": "/home/them/special_tokens_map.json"}))
    load_bundle(forge(bundle))
    named = f"{secret}/tokenizer.1.json"
    path.write_text(json.dumps({**settings, key: [named] if key.endswith("s") else named}))
    with pytest.raises(BundleError, match=r"tokenizer_config\.json' names a file outside"):
        load_bundle(forge(bundle))


@pytest.mark.parametrize("place", ["encoders", "encoders/0", "encoders/0/0_Transformer", "parts"])
def test_a_link_to_a_folder_is_not_followed(place, bundle, secret):
    """What lies there need be no part of the bundle."""
    link, away = bundle / place, bundle.parent / "away"
    if link.exists():
        shutil.move(link, away)
    link.symlink_to(away if away.exists() else secret, target_is_directory=True)
    with pytest.raises(BundleError, match=f"holds a link to a folder, '{place}'"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["adapter_config.json", "modeling.py", "model.bin", "tokenizer.pkl", "x.jinja"])
def test_only_a_models_own_files_may_lie_beside_it(name, bundle):
    """An adapter's configuration would lead transformers to the model that it names."""
    (bundle / "encoders/0" / name).write_text('{"base_model_name_or_path": "/home/them"}')
    with pytest.raises(BundleError, match=rf"{name}' is none that save_bundle copies"):
        load_bundle(forge(bundle))


def test_a_settings_file_that_is_no_json_is_told(bundle):
    """As damage of the bundle, whichever library would have read it."""
    for content in ("{", "[" * 100_000):
        (bundle / "encoders/0/modules.json").write_text(content)
        with pytest.raises(BundleError, match=r"cannot be read.*was not made by save_bundle"):
            load_bundle(forge(bundle))


# -- memory --------------------------------------------------------------------------------------------------------


def test_many_small_texts_cannot_ask_for_a_large_memory(tmp_path):
    """What arrays are wider than their items is counted over all of them, and no more of it is ever made."""
    folder = save_bundle(TextCleaner(), tmp_path / "bundle")
    node = {"is": "texts", "dtype": f"<U{arrays._TEXT_ALLOWANCE // 16}", "shape": [1], "items": ["a"]}  # a quarter
    forge(folder, lambda content: content["estimator"]["state"].update(stop_words=[node] * 3))
    assert [array.tolist() for array in load_bundle(folder).stop_words] == [["a"]] * 3
    forge(folder, lambda content: content["estimator"]["state"].update(stop_words=[node] * 5))
    with pytest.raises(BundleError, match="too large for what is in it"):
        load_bundle(folder)


def test_what_would_not_be_read_is_not_saved(tmp_path, monkeypatch):
    """The same count, when saving."""
    monkeypatch.setattr(arrays, "_TEXT_ALLOWANCE", 1000)
    cleaner = TextCleaner(stop_words=np.array(["a", "b"], dtype="U400"))
    with pytest.raises(BundleError, match=r"TextCleaner\.stop_words: .* Make it narrower"):
        save_bundle(cleaner, tmp_path / "bundle")
    cleaner.stop_words = cleaner.stop_words.astype(object).astype(str)
    assert load_bundle(save_bundle(cleaner, tmp_path / "bundle")).stop_words.dtype == "<U1"


def test_a_part_that_is_named_twice_is_refused(tmp_path):
    """It would be in memory as often as it is named."""
    folder = save_bundle(make_pipeline(LogisticRegression()), tmp_path / "bundle")
    forge(folder, lambda content: content["estimator"]["steps"].append(["again", content["estimator"]["steps"][0][1]]))
    with pytest.raises(BundleError, match=r"names its 'parts/0\.skops' twice"):
        load_bundle(folder)


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    change(schema)
    members["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def scaler(tmp_path):
    return save_bundle(StandardScaler().fit(np.arange(40.0).reshape(20, 2)), tmp_path / "scaler")


def test_a_compressed_part_is_refused(scaler):
    """Before anything of it is read."""
    rewritten(scaler / "parts/0.skops", lambda schema: schema.update(pad="A" * 10**6), zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="has compressed members"):
        load_bundle(forge(scaler))


def test_a_sparse_matrix_that_is_huge_for_its_file_is_refused(scaler, monkeypatch):
    """scipy compresses these; one that is not out of all measure is loaded."""
    path = scaler / "parts/0.skops"
    found = skops.io.load(path)
    found.counts = scipy.sparse.csr_matrix(np.ones((300, 300)))
    skops.io.dump(found, path)
    trusted = ["scipy.sparse._csr.csr_matrix"]
    assert load_bundle(forge(scaler), trusted=trusted).counts.sum() == 90_000
    monkeypatch.setattr(parts, "_GROWTH", 1)
    monkeypatch.setattr(parts, "_ALLOWANCE", 10_000)
    with pytest.raises(BundleError, match="has compressed members"):
        load_bundle(scaler, trusted=trusted)


def test_an_array_of_a_part_that_is_named_often_is_refused(scaler):
    """As other arrays; that one array has two places is no such thing, and stays."""
    path = scaler / "parts/0.skops"
    found = skops.io.load(path)
    found.twice = [found.mean_, found.mean_]
    skops.io.dump(found, path)
    loaded = load_bundle(forge(scaler))
    assert loaded.twice[0] is loaded.twice[1]

    def often(schema):
        values = schema["content"]["content"]["mean_"], schema["content"]["content"]["var_"]
        values[1]["file"] = values[0]["file"]

    rewritten(path, often)
    with pytest.raises(BundleError, match=r"names its '\d+\.npy' more than once"):
        load_bundle(forge(scaler))


@pytest.mark.parametrize(
    ("dtype", "size"), [("F8_E4M3", 2), ("F8_E5M2", 2), ("F4", 1), ("BF16", 4), ("C64", 16), ("X", 2)]
)
def test_numbers_that_numpy_has_not_are_refused(dtype, size, tmp_path):
    """Dtypes that safetensors knows, or not, and save_bundle never writes."""
    folder = save_bundle(HeadClassifier(hidden_layer_sizes=np.array([3, 4])), tmp_path / "bundle")
    header = json.dumps({"a0": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}}).encode()
    (folder / "arrays.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * size)
    with pytest.raises(BundleError, match=r"cannot be read"):
        load_bundle(forge(folder))


# -- trees ---------------------------------------------------------------------------------------------------------


def test_a_forest_is_not_loaded_without_trust(tmp_path):
    """With every version of skops, some of which trust trees by themselves; however the file spells it."""
    rows = np.arange(24.0)[:, None]
    forest = RandomForestClassifier(3, random_state=0).fit(rows, Y)
    with pytest.warns(SkbertWarning, match=r"RandomForestClassifier: .*trusted=\['sklearn\.tree\._tree\.Tree'\]"):
        folder = save_bundle(forest, tmp_path / "bundle")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"trusts: sklearn\.tree\._tree\.Tree"):
            load_bundle(folder)
        loaded = load_bundle(folder, trusted=["sklearn.tree._tree.Tree"])
        assert same_bits(loaded.predict_proba(rows), forest.predict_proba(rows))
        path = folder / "parts/0.skops"
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace(b'"TreeNode"', rb'"Tree\u004eode"'))
        forge(folder)


def test_trust_is_asked_for_everything_at_once_when_the_last_part_is_reached(tmp_path):
    """The list of an error has what earlier parts needed too."""
    forest = RandomForestClassifier(2, random_state=0).fit(np.arange(24.0)[:, None], Y)
    with pytest.warns(SkbertWarning, match=r"Pipeline\['a'\], Pipeline\['b'\]: ") as caught:
        folder = save_bundle(
            make_pipeline(TextCleaner()).set_params(steps=[("a", forest), ("b", Own())]), tmp_path / "b"
        )
    needed = sorted(["sklearn.tree._tree.Tree", f"{__name__}.Own"])
    assert len(caught) == 1
    assert f"trusted={needed!r}" in str(caught[0].message)
    assert Path(caught[0].filename) == Path(__file__)
    with pytest.raises(BundleError, match=r"The bundle's Pipeline\['a'\] in '0\.skops' holds types"):
        load_bundle(folder)
    with pytest.raises(BundleError, match=r"The bundle's Pipeline\['b'\] in '1\.skops' holds types") as error:
        load_bundle(folder, trusted=needed[:1])
    assert f"trusted={needed!r}" in str(error.value)
    assert len(load_bundle(folder, trusted=needed).steps) == 2


class Own(StandardScaler):
    """A step of somebody's own."""


def test_what_is_of_skbert_and_skops_alone_warns_of_nothing(tmp_path, recwarn):
    """Nothing has to be named, so nothing is said."""
    save_bundle(make_pipeline(StandardScaler(), LogisticRegression()).fit(np.eye(24), Y), tmp_path / "bundle")
    assert not [warning for warning in recwarn if issubclass(warning.category, SkbertWarning)]
