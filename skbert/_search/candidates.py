"""What the candidates of a grid have in common: whose heads can be trained together, who shares vectors. Part of
``_search``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from sklearn import get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing

from skbert._classifier import BertSentimentClassifier
from skbert._head import HeadClassifier

__all__ = ["Candidate", "classifier_of", "group", "is_ours"]

_OF_THE_HEAD = frozenset(HeadClassifier._parameter_rules)


class Candidate:
    """One setting of the grid, and the unfitted estimator that it makes.

    Parameters
    ----------
    params : dict
        As the grid has them.
    estimator : estimator
        The one that is searched over.
    fit_params : dict
        What goes to the estimator's `fit` besides X and y.

    Attributes
    ----------
    params : dict
        As given.
    built : estimator
        A clone of `estimator` with these parameters.
    final : estimator
        Its last step, or itself where it is no Pipeline.
    name : str or None
        The name of that step, or None.
    shares : bool
        Whether its head can be trained along with others.
    weight : str or None
        Which of `fit_params` is the `sample_weight` of the head.
    """

    def __init__(self, params: dict[str, Any], estimator: Any, fit_params: dict[str, Any]) -> None:
        self.params = params
        self.built = clone(estimator).set_params(**clone(params, safe=False))
        self.name: str | None = None
        self.final = self.built
        if isinstance(self.built, Pipeline):
            self.name, self.final = self.built.steps[-1]
        # By the exact type: what a subclass does otherwise cannot be known. An imblearn pipeline resamples, say.
        self.shares = (
            (self.name is None or type(self.built) is Pipeline)
            and getattr(self.built, "transform_input", None) is None
            and type(self.final) in (HeadClassifier, BertSentimentClassifier)
        )
        self.weight: str | None = None
        if self.shares and fit_params:
            goes_to_the_head, self.weight = self._weight_among(fit_params)
            self.shares = goes_to_the_head

    def _weight_among(self, fit_params: dict[str, Any]) -> tuple[bool, str | None]:
        """Return whether nothing but a weight for the head is among the parameters, and its name there."""
        if len(fit_params) > 1:
            return False, None
        (name,) = fit_params
        if self.name is None:
            return name == "sample_weight", name
        if not get_config()["enable_metadata_routing"]:
            return name == f"{self.name}__sample_weight", name
        try:
            routed = process_routing(self.built, "fit", **fit_params)
        except Exception:
            return False, None  # its own fit will say what is wrong
        wanted = {
            (step, method, key)
            for step, methods in routed.items()
            for method, given in methods.items()
            for key in given
            if given[key] is not None
        }
        return wanted <= {(self.name, "fit", "sample_weight")}, name if wanted else None

    @property
    def key(self) -> Hashable:
        """What decides the vectors and weights that the head is to learn from: equal keys, equal vectors."""
        reads_texts = isinstance(self.final, BertSentimentClassifier)
        outside: list[Hashable] = [reads_texts]
        for name, value in sorted(self.params.items()):
            own = name
            if self.name is not None:
                first, _, own = name.partition("__")
                if first != self.name:
                    outside.append((name, _token(value)))
                    continue
            if not own:  # the last step itself: of it, only the embedder counts
                outside += [(name, _token(value.embedder))] if reads_texts else []
            elif reads_texts and own not in _OF_THE_HEAD:
                outside.append((name, _token(value)))
        return self.weight, tuple(outside)


def group(candidates: Sequence[Candidate]) -> list[list[int]]:
    """Return the places of the candidates that share, those with the same vectors together."""
    groups: dict[Hashable, list[int]] = {}
    for place, candidate in enumerate(candidates):
        if candidate.shares:
            groups.setdefault(candidate.key, []).append(place)
    return list(groups.values())


def classifier_of(estimator: Any) -> Any:
    """Return the last step of a Pipeline, of the innermost one, or the estimator itself."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def is_ours(estimator: Any) -> bool:
    """Say whether an estimator ends in a classifier with a head."""
    return isinstance(classifier_of(estimator), HeadClassifier | BertSentimentClassifier)


def _token(value: Any) -> Hashable:
    """Return what is equal for values that are surely the same.

    Plain values are compared, anything else goes by its identity: a grid hands
    the same object to all candidates that have it.
    """
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return type(value), value
    if isinstance(value, tuple | list):
        return type(value), tuple(map(_token, value))
    return "object", id(value)
