"""Heads that skbert does not have, for the study of quality: one torch loop with HeadClassifier's recipe.

AdamW with a decoupled decay of the weights, dropout, a running mean of the weights over two epochs, early stopping on
a tenth of the texts of each class. Changed one at a time: the schedule, the smoothing of labels, dropout of the
inputs, standardisation, and what the inputs are (layers mixed with learned weights, tokens pooled with learned ones).
"""

from __future__ import annotations

import copy
import math
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Rows(NamedTuple):
    """The part that is learned from, or its validation part."""

    text: Tensor  # (n,) which text
    y: Tensor  # (n,) code of the class
    weight: Tensor  # (n,) how many copies, with a mean of one


class Recipe(NamedTuple):
    """Settings of the loop; the values are HeadClassifier's."""

    learning_rate: float = 1e-3
    weight_decay: float = 5.0
    dropout: float = 0.5
    input_dropout: float = 0.0
    width: int = 256
    batch_size: int = 256
    averaging: float = 2.0  # epochs
    label_smoothing: float = 0.0
    cosine_epochs: int = 0  # over which the rate falls to nothing; 0 keeps it
    max_epochs: int = 100
    patience: int = 5
    tol: float = 1e-4


class Head(nn.Module):
    """One hidden layer over what `inputs` makes of the numbers of texts."""

    def __init__(self, inputs, n_classes, recipe):
        super().__init__()
        self.inputs = inputs
        self.input_dropout, self.dropout = nn.Dropout(recipe.input_dropout), nn.Dropout(recipe.dropout)
        self.hidden = nn.Linear(inputs.n_columns, recipe.width)
        self.last = nn.Linear(recipe.width, n_classes)
        nn.init.normal_(self.hidden.weight, 0, math.sqrt(2 / inputs.n_columns))
        nn.init.normal_(self.last.weight, 0, 0.1 / math.sqrt(recipe.width))
        nn.init.zeros_(self.hidden.bias)

    def forward(self, text):
        """Return the logits of these texts."""
        return self.last(self.dropout(self.hidden(self.input_dropout(self.inputs(text))).relu()))

    def groups(self, recipe):
        """Return the groups of parameters for AdamW: only the weights of the two layers decay."""
        decay = [self.hidden.weight, self.last.weight]
        rest = [p for p in self.parameters() if all(p is not q for q in decay)]
        return [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]


class Columns(nn.Module):
    """The vectors of texts, each column standardised over the rows learned from; or all by one common spread."""

    def __init__(self, X, fit_on, weight, *, common_spread=False):
        super().__init__()
        mean, scale = moments(X, fit_on, weight)
        if common_spread:
            scale = np.sqrt((scale**2).mean())
        self.X = torch.from_numpy(((X - mean) / scale).astype(np.float32))
        self.n_columns = X.shape[1]

    def forward(self, text):
        return self.X[text]

    def __deepcopy__(self, memo):
        return self  # it has no weights


class Mix(nn.Module):
    """The layers' vectors added up with learned weights (ELMo's scalar mix), from equal ones on."""

    def __init__(self, columns, n_layers):
        super().__init__()
        self.columns, self.n_layers, self.n_columns = columns, n_layers, columns.n_columns // n_layers
        # Adam moves a weight by its rate a step, whatever the slope is: scaled up, so that they get somewhere.
        self.shares = nn.Parameter(torch.zeros(n_layers))
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, text):
        shares = (30 * self.shares).softmax(0)[None, :, None]
        return self.factor * (self.columns(text).view(len(text), self.n_layers, -1) * shares).sum(1)


class Attention(nn.Module):
    """Tokens' states averaged with learned weights, a softmax for each query; other columns may stand beside.

    The queries begin so near to zero that each gives the mean of the tokens, nearly.
    """

    def __init__(self, states, starts, means, n_queries, fit_on, weight, beside=None):
        super().__init__()
        mean, scale = (torch.from_numpy(a).float() for a in moments(means, fit_on, weight))
        self.states, self.starts, self.mean, self.scale, self.beside = states, starts, mean, scale, beside
        self.query = nn.Parameter(0.01 * torch.randn(states.shape[1], n_queries))
        self.n_columns = n_queries * states.shape[1] + (beside.n_columns if beside else 0)

    def forward(self, text):
        start, length = self.starts[text], self.starts[text + 1] - self.starts[text]
        place = torch.arange(int(length.max()))
        is_token = place < length[:, None]
        states = self.states[(start[:, None] + place).clamp(max=len(self.states) - 1)].float()  # (texts, tokens, d)
        states = (states - self.mean) / self.scale
        scores = (states @ self.query).masked_fill(~is_token[..., None], -torch.inf)
        pooled = (scores.softmax(1).mT @ states).flatten(1)
        return pooled if self.beside is None else torch.cat([pooled, self.beside(text)], 1)

    def __deepcopy__(self, memo):
        other = copy.copy(self)  # the states are shared, the query is not
        other._parameters = {"query": nn.Parameter(self.query.detach().clone())}
        return other


class Fitted(NamedTuple):
    """A trained head, and the temperature at which its validation part has the least loss."""

    head: Head
    epochs: int
    temperature: float
    seconds: float  # of the training, the inputs being made

    def predict_proba(self, text):
        """Return the probabilities of these texts at that temperature, and those at 1."""
        with torch.no_grad():
            logits = torch.cat([self.head(piece) for piece in torch.as_tensor(text).split(1024)]).double()
        return [(logits / t).softmax(1).numpy() for t in (self.temperature, 1.0)]


def moments(X, rows, weight):
    """Return weighted mean and standard deviation of the columns over these rows, 1 where there is none."""
    share = weight / weight.sum()
    mean = share @ X[rows].astype(np.float64)
    variance = share @ (X[rows] - mean) ** 2
    return mean, np.sqrt(np.where(variance > 1e-12, variance, 1.0))


def merge_and_split(text, y, seed):
    """Merge copies with the same label; return training and validation part, a tenth of each class's texts.

    All copies of a text are on one side, by its most frequent label.
    """
    pairs, weight = np.unique(np.stack([text, y], 1), axis=0, return_counts=True)
    order = np.lexsort((-weight, pairs[:, 0]))
    texts, first = np.unique(pairs[order, 0], return_index=True)
    label = pairs[order, 1][first]
    draw, held_out = np.random.default_rng(seed), []
    for code in np.unique(label):
        members = draw.permutation(texts[label == code])
        count = np.bincount(pairs[:, 0], weights=weight)[members].cumsum()
        held_out.append(members[: max(1, int(np.searchsorted(count, 0.1 * count[-1])))])
    is_out = np.isin(pairs[:, 0], np.concatenate(held_out))

    def part(chosen):
        w = weight[chosen]
        return Rows(*(torch.from_numpy(a[chosen]) for a in pairs.T), torch.from_numpy(w / w.mean()).float())

    return part(~is_out), part(is_out)


def train(make_inputs, text, y, n_classes, seed, **settings):
    """Train a head and return it as it was at its best epoch.

    Parameters
    ----------
    make_inputs : callable
        Gets the numbers of the texts learned from and their weights, and returns the module of the inputs.
    text, y : ndarray of shape (n,)
        Number of each row's text, and code of its class.
    n_classes, seed : int
        Number of classes, and the seed of everything drawn.
    **settings
        Of :class:`Recipe`.
    """
    recipe = Recipe(**settings)
    torch.manual_seed(seed)
    training, validation = merge_and_split(text, y, seed)
    head = Head(make_inputs(training.text.numpy(), training.weight.numpy()), n_classes, recipe)
    start = time.process_time()
    optimiser = torch.optim.AdamW(head.groups(recipe), lr=recipe.learning_rate)
    average, best, steps = copy.deepcopy(head), None, 0
    least = reference = math.inf
    n_batches = math.ceil(len(training.y) / recipe.batch_size)
    epochs = waited = 0
    while epochs < (recipe.cosine_epochs or recipe.max_epochs) and waited < recipe.patience:
        head.train()
        epochs += 1
        for chosen in torch.randperm(len(training.y)).tensor_split(n_batches):
            if recipe.cosine_epochs:
                share = steps / (n_batches * recipe.cosine_epochs)
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
            optimiser.zero_grad(set_to_none=True)
            _loss(head, Rows(*(a[chosen] for a in training)), recipe.label_smoothing).backward()
            optimiser.step()
            steps += 1
            _follow(average, head, steps, recipe.averaging * n_batches)
        average.eval()
        with torch.no_grad():
            loss = float(_loss(average, validation))
        if loss < least:
            least, best = loss, copy.deepcopy(average)
        reference, waited = (loss, 0) if loss < reference - recipe.tol else (reference, waited + 1)
    return Fitted(best.eval(), epochs, _temperature(best, validation), time.process_time() - start)


def _loss(head, rows, smoothing=0.0):
    losses = cross_entropy(head(rows.text), rows.y, reduction="none", label_smoothing=smoothing)
    return (losses * rows.weight).mean()


@torch.no_grad()
def _follow(average, head, steps, over):
    share = 1 / min(steps, max(over, 1))
    for p, q in zip(average.parameters(), head.parameters(), strict=True):
        p.lerp_(q, share)


@torch.no_grad()
def _temperature(head, rows):
    logits = torch.cat([head(piece) for piece in rows.text.split(1024)]).double()
    at = np.exp(np.linspace(-1.5, 1.5, 121))
    losses = [(cross_entropy(logits / t, rows.y, reduction="none") * rows.weight).mean() for t in at]
    return float(at[int(np.argmin(losses))])
