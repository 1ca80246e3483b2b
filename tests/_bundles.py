"""What the tests of bundles share: small estimators, and predictions as a fresh process would make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from skbert import BertEmbedder, BertSentimentClassifier, clear_cache, release_models
from skbert._bundle import manifest
from tests._counting import made_up

X = [f"{text} {word}" for text in made_up(12) for word in ("good", "awful")]
Y = ["nice", "nasty"] * 12
FEW = {"max_iter": 3, "random_state": 0, "device": "cpu"}


def embedder(model: str | Path, **params: Any) -> BertEmbedder:
    """Return an embedder on the CPU."""
    return BertEmbedder(str(model), device="cpu", **params)


def classifier(model: str | Path, **params: Any) -> BertSentimentClassifier:
    """Return a classifier that learns fast; `params` are its embedder's."""
    return BertSentimentClassifier(embedder(model, **params), **FEW)


def fresh_proba(estimator: Any, texts: Any = X) -> np.ndarray:
    """Return probabilities as a fresh process gives them: all texts go through BERT, in this one call."""
    release_models()
    clear_cache()
    return estimator.predict_proba(texts)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Say whether two arrays are the same, dtype and bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def names_in(folder: Path) -> list[str]:
    """Return the names of all files in a folder and below, as from the folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def forge(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> Path:
    """Change bundle.json as somebody would who knows how it is made: with the digests of the files that are there."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    content.pop("digest")
    change(content)
    content["files"] = {name: manifest._facts(folder / name) for name in names_in(folder) if name != "bundle.json"}
    path.write_text(json.dumps({**content, "digest": manifest._digest(content)}))
    return folder
