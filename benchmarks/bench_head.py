"""An epoch of one head beside scikit-learn's MLPClassifier and skorch: the same network and batches, and Adam.

Ten thousand rows of 1,536 columns, one hidden layer of 256, mini-batches of 256, Adam's family, no dropout, no
validation part. An epoch's time is the difference between a fit of several epochs and a fit of one, so that what is
done once a fit (checks, copies, standardisation) does not count; it is told apart.

    .venv/bin/python benchmarks/bench_head.py
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import numpy as np
import sklearn
import torch
from _common import clocked, new_row, paired_ratios, write_row
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

import skbert
from skbert import HeadClassifier

try:
    import skorch
except ImportError:  # on a machine that was only lent for its GPU
    skorch = None


DECAY = 0.01  # of AdamW; MLPClassifier's Adam has none
CLOSE = 0.05  # accuracy on new rows: the three begin from other weights, and skbert keeps a mean of its last ones


def make_data(n_rows, n_columns):
    """Return rows whose three classes can be learned in part, and as many others to score on."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2 * n_rows, n_columns), dtype=np.float32)
    scores = X @ rng.standard_normal((n_columns, 3)).astype(np.float32) / np.sqrt(n_columns)
    y = (scores + 0.7 * rng.standard_normal(scores.shape)).argmax(1)
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


class Module(torch.nn.Module):
    """The network as skorch's users write it."""

    def __init__(self, n_columns, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(n_columns, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))

    def forward(self, X):
        """Return the classes' sums."""
        return self.layers(X)


def makers(n_columns, width, batch_size, device):
    """Return what makes a classifier of each kind that will run for so many epochs."""
    return {
        "skbert": lambda epochs: HeadClassifier(
            hidden_layer_sizes=(width,),
            dropout=0.0,
            weight_decay=DECAY,
            batch_size=batch_size,
            max_iter=epochs,
            early_stopping=False,
            device=device,
            random_state=0,
        ),
        "MLPClassifier": lambda epochs: MLPClassifier(
            (width,), alpha=0.0, batch_size=batch_size, max_iter=epochs, tol=0.0, n_iter_no_change=10**6, random_state=0
        ),
        "skorch": lambda epochs: skorch.NeuralNetClassifier(
            Module,
            module__n_columns=n_columns,
            module__width=width,
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            optimizer__lr=1e-3,
            optimizer__weight_decay=DECAY,
            batch_size=batch_size,
            iterator_train__shuffle=True,
            max_epochs=epochs,
            train_split=None,
            device=device,
            verbose=0,
        ),
    }


def main():
    """Time epochs in turn, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=1_536)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # MLPClassifier has not converged, it says
    X, y, X_new, y_new = make_data(args.rows, args.columns)
    ways = makers(args.columns, args.width, args.batch_size, args.device)
    if args.device != "cpu":
        del ways["MLPClassifier"]  # which knows no GPU
    if skorch is None:
        del ways["skorch"]
    walls, cpus, once, scores = ({name: [] for name in ways} for _ in range(4))
    for make in ways.values():
        make(1).fit(X, y)
    for _ in range(args.rounds):
        for name, make in ways.items():
            wall_1, cpu_1, _ = clocked(lambda make=make: make(1).fit(X, y))
            wall, cpu, fitted = clocked(lambda make=make: make(1 + args.epochs).fit(X, y))
            walls[name].append((wall - wall_1) / args.epochs)
            cpus[name].append((cpu - cpu_1) / args.epochs)
            once[name].append(wall_1 - walls[name][-1])
            scores[name] = {
                "accuracy": round(float((fitted.predict(X_new) == y_new).mean()), 4),
                "log_loss": round(float(log_loss(y_new, fitted.predict_proba(X_new))), 4),
            }
    accuracies = [found["accuracy"] for found in scores.values()]
    if max(accuracies) - min(accuracies) > CLOSE:
        msg = f"The networks have not learned the same: {scores}"
        raise SystemExit(msg)
    row = new_row(
        f"an epoch over {args.rows:,} x {args.columns:,}, one hidden layer of {args.width}, mini-batches of "
        f"{args.batch_size}, no dropout",
        torch,
        sklearn,
        skorch,
        skbert,
        device=args.device,
    )
    row |= {
        "rounds": args.rounds,
        "milliseconds_an_epoch": {name: round(1e3 * statistics.median(values), 1) for name, values in walls.items()},
        "cpu_milliseconds_an_epoch": {name: round(1e3 * statistics.median(values), 1) for name, values in cpus.items()},
        "milliseconds_once_a_fit": {name: round(1e3 * statistics.median(values), 1) for name, values in once.items()},
        "scores_on_new_rows": scores,
    }
    for peer in [name for name in ways if name != "skbert"]:
        row[f"ratio_{peer}"], row[f"ratio_{peer}_rounds"] = paired_ratios(walls[peer], walls["skbert"])
        row[f"ratio_{peer}_cpu"], _ = paired_ratios(cpus[peer], cpus["skbert"])
    write_row("head", row)


if __name__ == "__main__":
    main()
