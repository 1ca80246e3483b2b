"""Bundles that are damaged, hostile or half written, and estimators that cannot be saved: refused, and told why."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, TextCleaner
from skbert._base import STATE_FORMAT
from skbert._bundle import bundle as bundle_module, load_bundle, manifest, save_bundle
from skbert.exceptions import BundleError, InvalidParameterError, StateFormatError
from tests._counting import made_up

X = made_up(20)
Y = [0, 1] * 10
FEW = {"max_iter": 2, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def sound(tiny_bert_folder, tmp_path_factory):
    """Return a bundle with arrays, an encoder and a part of skops; not to be changed."""
    embedder = BertEmbedder(tiny_bert_folder, device="cpu")
    pipeline = make_pipeline(TextCleaner(), embedder, VotingClassifier([("a", LogisticRegression())]))
    pipeline.fit(X, Y)
    pipeline.steps.append(("head", HeadClassifier(**FEW).fit(np.eye(20), Y)))
    return save_bundle(pipeline, tmp_path_factory.mktemp("sound") / "bundle")


@pytest.fixture
def bundle(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "bundle"))


def rewrite(bundle, change):
    """Change bundle.json as somebody would who knows how it is made: with a digest that is right."""
    path = bundle / "bundle.json"
    content = json.loads(path.read_text())
    content.pop("digest")
    change(content)
    content["digest"] = manifest._digest(content)
    path.write_text(json.dumps(content))
    return bundle


def with_estimator(bundle, node):
    return rewrite(bundle, lambda content: content.update(estimator=node))


def nested(depth):
    node = 0
    for _ in range(depth):
        node = [node]
    return node


# -- damage --------------------------------------------------------------------------------------------------------

FILES = [
    "bundle.json",
    "arrays.safetensors",
    "encoders/0/model.safetensors",
    "encoders/0/config.json",
    "encoders/0/tokenizer.json",
    "parts/0.skops",
]


@pytest.mark.parametrize("bit", [1, 32])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_noticed_wherever_it_is(name, bit, bundle):
    """At the ends, in the middle and at places drawn at random, in every kind of file; the file is named."""
    path = bundle / name
    whole = path.read_bytes()
    drawn = np.random.default_rng(0).integers(0, len(whole), 25).tolist()
    for place in [0, 7, 8, len(whole) // 2, len(whole) - 1, *drawn]:
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(damaged)
        with pytest.raises((BundleError, StateFormatError), match=r"bundle"):
            load_bundle(bundle)
    path.write_bytes(whole)
    load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_short_an_empty_and_a_missing_file_are_named(name, bundle):
    """What a broken copy leaves behind."""
    path = bundle / name
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b" x", b""):
        path.write_bytes(content)
        with pytest.raises(BundleError, match=path.name):
            load_bundle(bundle)
    path.unlink()
    with pytest.raises(BundleError, match=rf"(lacks its file|there is no).*{path.name}"):
        load_bundle(bundle)


def test_a_file_added_to_a_model_is_refused(bundle):
    """It could change the tokens; hidden files, which systems leave everywhere, change nothing."""
    (bundle / "encoders/0/.DS_Store").write_bytes(b"x")
    (bundle / "notes.txt").write_text("not beside a model")
    load_bundle(bundle)
    (bundle / "encoders/0/added_tokens.json").write_text("{}")
    with pytest.raises(BundleError, match=r"added_tokens\.json' that was not there"):
        load_bundle(bundle)


@pytest.mark.parametrize("number", [0, 2, 10**6])
def test_another_format_of_the_folder_is_told_before_anything_is_read(number, bundle):
    """A newer bundle may look like anything else."""
    (bundle / "bundle.json").write_text(json.dumps({"format": number, "all": "different"}))
    with pytest.raises(StateFormatError, match=f"format {number}, and this skbert reads format 1"):
        load_bundle(bundle)


def test_another_format_of_an_estimators_state_is_told(bundle):
    """The states have a number of their own."""
    state = {"is": "TextCleaner", "state": {"_skbert_format": STATE_FORMAT + 1}, "routing": {}}
    with pytest.raises(StateFormatError, match=f"TextCleaner was saved in format {STATE_FORMAT + 1}"):
        load_bundle(with_estimator(bundle, state))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"format": "1"}', '{"format": NaN}', "[" * 100_000, "\xff"])
def test_what_is_no_bundle_json_is_told(text, bundle):
    """Other people's files, and nesting that no parser takes."""
    (bundle / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle\.json' is damaged"):
        load_bundle(bundle)


@pytest.mark.parametrize("depth", [200, 330, 480, 700, 950, 990, 2000])
def test_no_depth_is_too_deep_to_be_told(depth, bundle):
    """Whatever runs out first, the parser or the digest, it is an error of ours."""
    text = '{"format": 1, "estimator": ' + "[" * depth + "]" * depth + "}"
    (bundle / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"bundle\.json' is damaged"):
        load_bundle(bundle)


def test_a_bundle_json_beyond_all_measure_is_not_read(bundle, monkeypatch):
    """Nor is one written."""
    monkeypatch.setattr(manifest, "_MAX_BYTES", 1000)
    with pytest.raises(BundleError, match=r"bytes; no skbert writes more than 1,000"):
        load_bundle(bundle)
    with pytest.raises(BundleError, match="may have 1,000"):
        save_bundle(TextCleaner(stop_words=["word"] * 300), bundle.parent / "new")
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


# -- malice --------------------------------------------------------------------------------------------------------

NUMBER = {"is": "scalar", "dtype": "<f8", "value": "0" * 16}
CLEANER = {"is": "TextCleaner", "state": {}, "routing": {}}
HOSTILE = {
    "unknown": ({"is": "os.system"}, "is 'os.system', which this skbert does not know"),
    "module": ({"is": "skbert._embedder.BertEmbedder", "state": {}}, "does not know"),
    "subclass": ({"is": "SkbertEstimator", "state": {}}, "does not know"),
    "no kind": ({"value": 1}, "is None, which"),
    "kind of another type": ({"is": ["tuple"]}, "does not know"),
    "within": ([{"is": "tuple", "items": [{"is": "eval"}]}], "is 'eval'"),
    "field missing": ({"is": "tuple"}, "KeyError"),
    "unhashable": ({"is": "set", "items": [[1]]}, "unhashable"),
    "items that are none": ({"is": "tuple", "items": 3}, "TypeError"),
    "no hexadecimal": ({"is": "int", "value": "x"}, "invalid literal"),
    "a float of another name": ({"is": "float", "value": "1e400"}, "KeyError"),
    "array that is not there": ({"is": "array", "name": "zz", "dtype": "<f8", "transposed": False}, "'zz'"),
    "array of objects": ({"is": "array", "name": "a0", "dtype": "|O", "transposed": False}, "has dtype"),
    "scalar of objects": ({**NUMBER, "dtype": "|O"}, "is no scalar"),
    "scalar too long": ({**NUMBER, "dtype": "<f4"}, "is no scalar"),
    "wide text": ({"is": "texts", "dtype": "<U99999999", "shape": [1], "items": ["a"]}, "too large"),
    "text of numbers": ({"is": "texts", "dtype": "<U3", "shape": [1], "items": [1]}, "no text"),
    "text of dates": ({"is": "texts", "dtype": "<M8[s]", "shape": [1], "items": ["a"]}, "no array of shape"),
    "long shape": ({"is": "texts", "dtype": "|O", "shape": [10**12], "items": ["a"]}, "no array of shape"),
    "negative shape": ({"is": "texts", "dtype": "|O", "shape": [-1, -1], "items": ["a"]}, "no array of shape"),
    "method": ({**CLEANER, "state": {"transform": 1}}, "has an attribute 'transform'"),
    "class": ({**CLEANER, "state": {"__class__": 1}}, "has an attribute '__class__'"),
    "special": ({**CLEANER, "state": {"__array__": 1}}, "has an attribute '__array__'"),
    "routing": ({**CLEANER, "routing": {"params": {}}}, "metadata of a method 'params'"),
    "no state": ({**CLEANER, "state": None}, "AttributeError"),
    "store": ({"is": "MemoryStore", "max_bytes": "all"}, "max_bytes"),
    "disk": ({"is": "DiskStore", "folder": 3, "max_bytes": None}, "folder"),
    "part that is not listed": ({"is": "part", "number": 7, "where": "x"}, "lists no file 'parts/7.skops'"),
    "part below": ({"is": "part", "number": -1, "where": "x"}, "lists no file 'parts/-1.skops'"),
    "part by path": ({"is": "part", "number": "../../x", "where": "x"}, "invalid literal"),
    "no estimator": ([1, 2], "no estimator"),
    "deep": (nested(470), "nested too deeply|no estimator"),
}


@pytest.mark.parametrize(("node", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_tree_that_no_skbert_wrote_is_refused(node, message, bundle):
    """Only a fixed set of words means anything; none is looked up, and nothing is built halfway."""
    with pytest.raises((BundleError, InvalidParameterError), match=message):
        load_bundle(with_estimator(bundle, node))


@pytest.mark.parametrize("model", ["/etc", "bundle:encoders/1", "bundle:encoders/-1", "bundle:../..", "", None, 0])
def test_an_embedder_reads_what_the_bundle_names_and_nothing_else(model, bundle):
    """A path or a hub name in the tree is refused: copied models come from the bundle's folder."""
    node = {"is": "BertEmbedder", "state": {"model": model}, "routing": {}}
    with pytest.raises(BundleError, match="none of the 1 encoders"):
        load_bundle(with_estimator(bundle, node))


OUTSIDE = [
    *("../secret.txt", "encoders/0/../../../secret.txt", "/etc/hostname", "encoders/../bundle.json", "bundle.json"),
    *("encoders\\0\\x", "C:/x", "encoders/0/C:x", "encoders/0", "encoders//0/x", "encoders/0/./x", "parts/0.pkl", ""),
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_file_outside_is_never_opened(name, bundle, monkeypatch):
    """Even where the digest is right."""
    secret = bundle.parent / "secret.txt"
    secret.write_text("secret")
    opened = []
    real = manifest._sha256
    monkeypatch.setattr(manifest, "_sha256", lambda path: (opened.append(path), real(path))[1])
    facts = {"size": 6, "sha256": real(secret)}
    with pytest.raises(BundleError, match="which no bundle has"):
        load_bundle(rewrite(bundle, lambda content: content.update(files={name: facts, **content["files"]})))
    assert opened == []


@pytest.mark.parametrize(
    "change",
    [
        {"encoders": None},
        {"encoders": [3]},
        {"files": []},
        {"files": {"arrays.safetensors": 3}},
        {"files": {}},
        {"encoders": [{"how": "fetch", "model": "x"}]},
        {"encoders": [{"how": "reference", "model": 3}]},
    ],
    ids=str,
)
def test_tables_of_another_form_are_refused(change, bundle):
    """Each is told as what it is: no bundle of ours."""
    shutil.rmtree(bundle / "encoders")
    with pytest.raises(BundleError, match=r"damaged|was not made by save_bundle"):
        load_bundle(rewrite(bundle, lambda content: content.update({"files": {}} | change)))


def test_arrays_that_are_none_are_refused(bundle):
    """A file with the right digest and the wrong content."""
    (bundle / "arrays.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (bundle / "parts/0.skops").write_bytes(b"PK no zip")

    def forge(content):
        content["files"] |= {name: manifest._facts(bundle / name) for name in ("arrays.safetensors", "parts/0.skops")}

    with pytest.raises(BundleError, match=r"'a0'|cannot be read by skops: it is no zip file"):
        load_bundle(rewrite(bundle, forge))
    (bundle / "arrays.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(BundleError, match=r"arrays\.safetensors' cannot be read"):
        load_bundle(rewrite(bundle, forge))


class Trap(FunctionTransformer):
    """A step of somebody's own, which does something when it is loaded."""

    sprung = 0

    def __setstate__(self, state):
        type(self).sprung += 1
        super().__setstate__(state)


def test_a_strangers_type_is_not_touched_before_it_is_trusted(tmp_path):
    """The error names it and says how to trust it; by name or as a type, then it is loaded."""
    folder = save_bundle(make_pipeline(Trap()), tmp_path / "bundle")
    Trap.sprung = 0
    name = f"{__name__}.Trap"
    for trusted in (None, [], ["sklearn.tree._tree.Tree"]):
        with pytest.raises(BundleError, match=rf"nor skbert trusts: {name}\. .*trusted=\['{name}'\]"):
            load_bundle(folder, trusted=trusted)
    assert Trap.sprung == 0
    assert isinstance(load_bundle(folder, trusted=[name])[0], Trap)
    assert isinstance(load_bundle(folder, trusted=(Trap,))[0], Trap)


# -- what cannot be saved ------------------------------------------------------------------------------------------


def nothing_left(folder):
    return [path.name for path in folder.iterdir()] == []


def test_without_skops_the_step_is_named(sound, tmp_path, monkeypatch):
    """Saving and loading both say what to install; what is skbert's own needs no skops."""
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    pipeline = make_pipeline(TextCleaner(), LogisticRegression())
    with pytest.raises(BundleError, match=r"Pipeline\['logisticregression'\] is a LogisticRegression.*pip install"):
        save_bundle(pipeline, tmp_path / "bundle")
    assert nothing_left(tmp_path)
    with pytest.raises(BundleError, match=r"0\.skops' holds an estimator.*pip install 'skbert\[skops\]'"):
        load_bundle(sound)
    load_bundle(save_bundle(make_pipeline(TextCleaner(), HeadClassifier(**FEW)), tmp_path / "own"))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            HeadClassifier(random_state=np.random.RandomState(0)),
            r"^HeadClassifier\.random_state is a RandomState.*int or",
        ),
        (make_pipeline(TextCleaner(), memory=object()), r"^Pipeline\.memory is a object"),
        (VotingClassifier([("a", LogisticRegression(class_weight={False: 1, True: 2}))]), "bools as keys"),
        (make_pipeline(FunctionTransformer(kw_args={"x": {None: 1}})), "skops, which keeps it, cannot"),
        (make_pipeline(FunctionTransformer(kw_args={"x": (n for n in "ab")})), "cannot be copied, and so not be saved"),
    ],
    ids=["random state", "memory", "bools", "skops", "generator"],
)
def test_what_a_bundle_cannot_hold_is_named(estimator, message, tmp_path):
    """With its place; and nothing is left on the disk."""
    with pytest.raises(BundleError, match=message):
        save_bundle(estimator, tmp_path / "bundle")
    assert nothing_left(tmp_path)


def test_an_estimator_that_holds_itself_is_refused(tmp_path):
    """Instead of running for ever."""
    pipeline = make_pipeline(TextCleaner())
    pipeline.steps.append(("self", pipeline))
    with pytest.raises(BundleError, match="holds itself"):
        save_bundle(pipeline, tmp_path / "bundle")
    assert nothing_left(tmp_path)


def test_a_wrong_parameter_of_an_embedder_is_told_as_usual(tmp_path):
    """Before anything is looked for."""
    with pytest.raises(InvalidParameterError, match="The 'model' parameter of BertEmbedder must be"):
        save_bundle(BertSentimentClassifier(BertEmbedder(3)), tmp_path / "bundle")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: save_bundle(TextCleaner, "x"), "The 'estimator' parameter of save_bundle must be an estimator"),
        (lambda: save_bundle(["a"], "x"), "The 'estimator' parameter of save_bundle must be an estimator"),
        (lambda: save_bundle(TextCleaner(), "x", encoder="move"), "The 'encoder' parameter .* among .* Got 'move'"),
        (lambda: save_bundle(TextCleaner(), 3), "The 'folder' parameter of save_bundle must be a path. Got 3"),
        (lambda: save_bundle(TextCleaner(), ""), "The 'folder' parameter of save_bundle must be a path"),
        (lambda: load_bundle(None), "The 'folder' parameter of load_bundle must be a path"),
        (lambda: load_bundle("x", trusted="sklearn"), "The 'trusted' parameter of load_bundle must be a list"),
        (lambda: load_bundle("x", trusted=True), "The 'trusted' parameter of load_bundle must be a list"),
    ],
)
def test_wrong_arguments(call, message):
    """In scikit-learn's wording."""
    with pytest.raises(InvalidParameterError, match=message):
        call()


# -- where it may be saved, and what is left of it -----------------------------------------------------------------


def test_only_a_bundle_is_replaced_and_only_when_asked(tmp_path):
    """An empty folder is filled; anything else is left as it is, down to a note beside a bundle's files."""
    folder = tmp_path / "new" / "bundle"
    assert save_bundle(TextCleaner(), folder) == folder
    with pytest.raises(BundleError, match="is not empty"):
        save_bundle(TextCleaner(case="lower"), folder)
    save_bundle(TextCleaner(case="lower"), folder, overwrite=True)
    assert load_bundle(folder).case == "lower"
    (folder / "README.md").write_text("mine")
    with pytest.raises(BundleError, match=r"holds 'README\.md', which is no part of a bundle"):
        save_bundle(TextCleaner(), folder, overwrite=True)
    assert load_bundle(folder).case == "lower"

    (tmp_path / "empty").mkdir()
    save_bundle(TextCleaner(), tmp_path / "empty")
    for name, message in (("encoders", "holds no bundle.json"), ("data.csv", "no part of a bundle")):
        other = tmp_path / name / "folder"
        other.mkdir(parents=True)
        (other / name).write_text("precious")
        with pytest.raises(BundleError, match=message):
            save_bundle(TextCleaner(), other, overwrite=True)
        with pytest.raises(BundleError, match=r"Got .* instead, a file"):
            save_bundle(TextCleaner(), other / name, overwrite=True)
        assert (other / name).read_text() == "precious"


def test_a_failed_save_leaves_the_old_bundle_and_nothing_else(tiny_bert_folder, tmp_path, monkeypatch):
    """A full disk while the model is copied, and a move that fails."""
    folder = save_bundle(TextCleaner(case="lower"), tmp_path / "bundle")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_module, "copy_encoder", full)
    with pytest.raises(OSError, match="No space left"):
        save_bundle(BertEmbedder(tiny_bert_folder), folder, overwrite=True)
    monkeypatch.undo()
    real, moves = Path.rename, []

    def second_fails(self, target):
        moves.append(target)
        return full() if len(moves) == 2 else real(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="No space left"):
        save_bundle(TextCleaner(), folder, overwrite=True)
    assert len(moves) == 3
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert load_bundle(folder).case == "lower"


def test_a_model_that_changes_while_it_is_copied_is_noticed(tiny_bert_folder, tmp_path, monkeypatch):
    """The copy is compared with what was found before."""
    folder = Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))
    real = bundle_module.copy_encoder

    def late(*args):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
        real(*args)

    monkeypatch.setattr(bundle_module, "copy_encoder", late)
    with pytest.raises(BundleError, match="is not the same model"):
        save_bundle(BertEmbedder(folder), tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
