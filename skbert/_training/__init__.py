"""Epochs on tensors: mini-batches, AdamW, early stopping, best state. Below ``_head``; knows torch and no scikit-learn.

Many networks of the same shape are trained at once: their weights lie in one
tensor with the network first, so that a step for all of them is one batched
matrix product. They may be the heads of one ensemble, or those of several
tasks: candidates of a search, each with its own settings, on the folds of a
cross-validation, each with its own rows. Each network has its own initial
weights; none influences another.

The backward pass is written out. For a plain multilayer perceptron it is a
dozen lines, and without the bookkeeping of autograd, with gradients that are
written into buffers kept for the whole training, an epoch on a CPU takes
little more than its matrix products.

Every random number comes from generators made here from one seed; torch's
global generators are neither read nor moved.
"""

from skbert._training.loop import train, train_together
from skbert._training.network import Network, initialise, log_proba
from skbert._training.optimiser import AdamMoments, Average
from skbert._training.rows import Part, Rows
from skbert._training.tasks import History, Monitor, Settings, Task

__all__ = [
    "AdamMoments",
    "Average",
    "History",
    "Monitor",
    "Network",
    "Part",
    "Rows",
    "Settings",
    "Task",
    "initialise",
    "log_proba",
    "train",
    "train_together",
]
