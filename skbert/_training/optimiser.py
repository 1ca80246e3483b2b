"""From gradients to weights: AdamW, and the mean of the weights over steps. Part of ``_training``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from torch.optim.adamw import adamw

from skbert._training.network import Network

__all__ = ["AdamMoments", "Average", "Optimiser"]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # AdamW's own


@dataclass
class AdamMoments:
    """What AdamW remembers from step to step, so that a later call can go on where this one ends."""

    first: Network  # running means of the gradients
    second: Network  # and of their squares
    steps: int = 0  # made so far

    @classmethod
    def zeros(cls, network: Network) -> AdamMoments:
        """Return the memory of an optimiser that has not made a step."""
        return cls(network.zeros(), network.zeros())


class Average:
    """The mean of a network's weights over its last steps (Polyak and Juditsky, 1992), fading exponentially.

    The weights of single steps jump about an optimum, the more the higher the
    learning rate; their mean lies nearer to it.
    """

    def __init__(self, network: Network, n_steps: float) -> None:
        self.network = network.copy()
        self._n_steps = n_steps
        self._seen = 0

    def add(self, network: Network) -> None:
        """Take in the weights after another step."""
        self._seen += 1
        # The plain mean until there are enough, so that the initial weights have no part in it.
        share = 1.0 / min(self._seen, max(self._n_steps, 1.0))
        for mean, new in zip(self.network.tensors(), network.tensors(), strict=True):
            mean.lerp_(new, share)


class _Columns(NamedTuple):
    """Tensors that are changed alike: what AdamW takes as lists of one length."""

    weights: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]


class Optimiser:
    """AdamW over heads with settings of their own. Biases do not decay: they do not make a network more complex.

    Parameters
    ----------
    network, gradients : Network
        Weights, changed in place, and where their gradients are put.
    moments : AdamMoments
        Its memory, changed in place.
    rates : dict of (learning rate, weight decay) to list of slice
        Settings, and the heads that have them.
    """

    def __init__(
        self,
        network: Network,
        gradients: Network,
        moments: AdamMoments,
        rates: Mapping[tuple[float, float], Sequence[slice]],
    ) -> None:
        self._moments = moments
        # The function behind torch.optim.AdamW, for two reasons: building the class loads torch's compiler (a second),
        # and here the optimiser's memory lies in plain tensors, which partial_fit keeps. It takes lists of tensors.
        self._groups: list[tuple[_Columns, float, float]] = []
        networks = (network, gradients, moments.first, moments.second)
        for (rate, decay), spans in rates.items():
            for name, its_decay in (("weights", decay), ("biases", 0.0)):
                columns = ([layer[span] for layer in getattr(one, name) for span in spans] for one in networks)
                self._groups.append((_Columns(*columns), rate, its_decay))

    def step(self) -> None:
        """Change the weights by the gradients."""
        for columns, rate, decay in self._groups:
            # It adds one itself. A fill, not a transfer: a GPU need not wait.
            steps = columns.weights[0].new_full((len(columns.weights),), float(self._moments.steps))
            adamw(
                columns.weights,
                columns.gradients,
                columns.first,
                columns.second,
                [],
                list(steps.unbind()),
                fused=True,
                amsgrad=False,
                beta1=_BETA_1,
                beta2=_BETA_2,
                lr=rate,
                weight_decay=decay,
                eps=_EPSILON,
                maximize=False,
            )
        self._moments.steps += 1
