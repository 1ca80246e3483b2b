"""skops keeps skbert's estimators without a pickle, with a short list of types to trust."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import sklearn
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    DiskStore,
    HeadClassifier,
    MemoryStore,
    TextCleaner,
    clear_cache,
    release_models,
)
from tests._counting import made_up

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "pickles_and_bundles.md"
TRUSTED = [TextCleaner, BertEmbedder, BertSentimentClassifier, HeadClassifier]
X = [f"{text} {word}" for text in made_up(12) for word in ("good", "awful")]
Y = np.array(["nice", "nasty"] * 12)
FEW = {"max_iter": 3, "random_state": 0, "device": "cpu"}


def names(types):
    return {f"{cls.__module__}.{cls.__name__}" for cls in types}


def fresh_proba(estimator):
    release_models()
    clear_cache()
    return estimator.predict_proba(X)


@pytest.fixture(params=["classifier", "embedder", "more"])
def pipeline(request, tiny_bert_folder):
    embedder = BertEmbedder(tiny_bert_folder, layers=(1, 2), device="cpu")
    if request.param == "classifier":
        return make_pipeline(TextCleaner(stop_words={"the"}), BertSentimentClassifier(embedder, **FEW)).fit(X, Y)
    if request.param == "embedder":
        return make_pipeline(TextCleaner(), embedder, LogisticRegression()).fit(X, Y)
    head = HeadClassifier(class_weight={"nice": 2, "nasty": 1}, n_heads=2, **FEW)
    pipeline = make_pipeline(embedder.fit(X), head)
    head.partial_fit(embedder.transform(X), Y, classes=np.unique(Y))
    return pipeline


def test_predictions_are_the_same_bits(pipeline):
    """A fitted pipeline, dumped and loaded, with no more trusted than skbert's four estimators."""
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=TRUSTED)
    assert fresh_proba(loaded).tobytes() == fresh_proba(pipeline).tobytes()
    assert loaded.predict(X).dtype == Y.dtype
    assert repr(loaded) == repr(pipeline)


def test_the_list_is_as_short_as_can_be(pipeline):
    """Only the estimators themselves are unknown to skops: no private type, no path, no device is in their state."""
    unknown = set(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))
    present = [cls for cls in TRUSTED if any(is_in(cls, step) for _, step in pipeline.steps)]
    assert unknown == names(present)


def is_in(cls, step):
    parts = [step, *vars(step).values()]
    return any(isinstance(part, cls) for part in parts)


def test_nothing_is_loaded_without_trust(pipeline):
    """skops refuses skbert's types until they are named."""
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="skbert"):
        skops.io.loads(skops.io.dumps(pipeline))


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_stores_need_their_name_too(store, tiny_bert_folder, tmp_path):
    """A store that is a parameter comes back as from a pickle: empty, or with its folder."""
    cache = MemoryStore(10**6) if store == "memory" else DiskStore(tmp_path / "vectors")
    embedder = BertEmbedder(tiny_bert_folder, cache=cache, device="cpu")
    loaded = skops.io.loads(skops.io.dumps(embedder), trusted=[BertEmbedder, type(cache)])
    assert repr(loaded.cache) == repr(cache)
    assert loaded.transform(X).tobytes() == embedder.transform(X).tobytes()


def test_bools_as_keys_are_the_trap_that_the_page_says():
    """skops' own doing; should it mend this, the page, and the check in bundles, can go."""
    head = HeadClassifier(class_weight={False: 1, True: 2})
    assert skops.io.loads(skops.io.dumps(head), trusted=TRUSTED).class_weight == {True: 2}


def test_requests_are_the_trap_that_the_page_says():
    """skops' own doing, for any estimator: newer versions cannot keep them, older ones need two more types."""
    with sklearn.config_context(enable_metadata_routing=True):
        asked = [
            HeadClassifier().set_fit_request(sample_weight=True),
            StandardScaler().set_fit_request(sample_weight="w"),
        ]
    for estimator in asked:
        try:
            data = skops.io.dumps(estimator)
        except RecursionError:
            continue
        kinds = {f"sklearn.utils._metadata_requests.{kind}" for kind in ("MetadataRequest", "MethodMetadataRequest")}
        assert set(skops.io.get_untrusted_types(data=data)) - names(TRUSTED) == kinds
    assert "set_fit_request" in PAGE.read_text(encoding="utf-8")


def test_the_page_names_the_list():
    """docs/guide/pickles_and_bundles.md has the list that is tested here."""
    found = re.search(r"trusted = \[(.*?)\]", PAGE.read_text(encoding="utf-8"))[1]
    assert found.split(", ") == [cls.__name__ for cls in TRUSTED]
