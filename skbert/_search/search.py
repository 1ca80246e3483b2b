"""HeadSearchCV, the estimator itself. Part of ``_search``."""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import process_routing

from skbert._base import SkbertEstimator, is_fitted_name
from skbert._search.candidates import Candidate, is_ours
from skbert._search.standin import Splits, Stage, StandIn, through_whole
from skbert._search.training import SearchEndedError, Training
from skbert._sklearn import count_rows, is_watched
from skbert.exceptions import InvalidParameterError

__all__ = ["HeadSearchCV"]


class HeadSearchCV(SkbertEstimator, GridSearchCV):
    """Search a grid as GridSearchCV does, training the heads of all folds together.

    It has the constructor, the methods and the results of scikit-learn's
    :class:`~sklearn.model_selection.GridSearchCV`, and its scores but for the
    noise of rounding, and of the seeds where `random_state` is None. What
    differs is how the candidates are fitted: those that differ only in the
    parameters of their heads read the same vectors, computed once a fold, and
    their small networks are trained as batched products.

    Parameters
    ----------
    estimator : estimator object
        A :class:`HeadClassifier`, a :class:`BertSentimentClassifier` or a
        Pipeline that ends in one.
    param_grid : dict or list of dict
        Names of parameters and lists of values to try, or several such grids.
        The last step of a Pipeline can be replaced as well.
    scoring : str, callable, list, tuple or dict, default=None
        How to score the test part of a fold: one scorer, or several with
        their names. None is the estimator's `score`, which is the accuracy.
    n_jobs : int, default=None
        Processes for the candidates that are fitted singly. The others are
        trained in this process, which uses the cores that torch uses.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all data. With several scorers
        the name of the one that decides. A callable takes `cv_results_` and
        returns the place of the best candidate.
    cv : int, splitter or iterable, default=None
        How to split the data. An int is the number of stratified folds; None
        is 5. The splits are drawn once, so that all candidates see the same.
    verbose : int, default=0
        1 or more prints the number of fits before they begin; 2 or more adds
        a line for each one when it is scored, whose time is not that of the
        fit.
    pre_dispatch : int or str, default='2*n_jobs'
        How many fits are handed to the processes ahead of time.
    error_score : 'raise' or float, default=np.nan
        The score of a candidate whose fit or scoring failed, with a warning.
        'raise' raises the error instead, before further candidates are
        trained. It does not concern the refit.
    return_train_score : bool, default=False
        Whether `cv_results_` has the scores of the training parts too.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        Parameters, scores, ranks and times, one entry a candidate. The times
        of work that was done for several are divided equally among them.
    best_estimator_ : estimator
        The best candidate, fitted on all data. Not there for ``refit=False``.
    best_score_ : float
        Its mean test score.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in `cv_results_`.
    scorer_ : callable or dict
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the refit.
    multimetric_ : bool
        Whether there are several scorers.
    classes_ : ndarray of shape (n_classes,)
        Labels that `best_estimator_` knows.
    n_features_in_ : int
        Number of columns that `best_estimator_` saw.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where `best_estimator_` knows them.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Fits every candidate by itself, and
        takes any estimator.
    HeadClassifier : The head, and its parameters.

    Notes
    -----
    *What is shared.* Candidates that have all parameters outside the head in
    common (the steps before it, and the embedder) share one fit of these
    steps in each fold. Each text goes through BERT once for the same layers
    and pooling, and so it does with ``cache=None``, as far as the classifier
    embeds and the refit is not counted.

    *What is fitted singly.* A candidate that ends in another classifier or in
    a subclass of these two; one whose `fit` is given more than the
    `sample_weight` of the head; all of them where there are callbacks, whose
    search is scikit-learn's own.

    *Memory.* Vectors of the training parts and heads take 1 GiB at most, or one fold if
    that is more. A scorer of your own gets each fitted estimator, which are
    then all kept until they are scored: the weights of a head for each
    candidate and fold. scikit-learn's scorers need predictions only.

    *Seeds.* With an int as `random_state` the heads are those that their own
    `fit` gives, but for rounding.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skbert import HeadClassifier, HeadSearchCV
    >>> X, y = load_digits(return_X_y=True)
    >>> grid = {"learning_rate_init": [1e-5, 1e-3], "dropout": [0.0, 0.5]}
    >>> search = HeadSearchCV(HeadClassifier(max_iter=10, random_state=0), grid, cv=3)
    >>> search.fit(X, y).best_params_["learning_rate_init"]
    0.001
    >>> len(search.cv_results_["mean_test_score"])
    4
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit and score all candidates in all folds, and the best one on all data.

        Parameters
        ----------
        X : sequence of shape (n_samples,) or array-like of shape (n_samples, n_features)
            What `estimator` takes: texts, pairs, or rows of numbers.
        y : array-like of shape (n_samples,), default=None
            Labels.
        **params : dict
            What goes to the estimator's `fit` (values of length n_samples are
            split along with X), and `groups` for the splitter. Where metadata
            routing is enabled, each goes to whom has asked for it.

        Returns
        -------
        HeadSearchCV
            The search itself.

        Raises
        ------
        InvalidParameterError
            The estimator is none of those that this search is for; or a
            candidate has a wrong parameter, where `error_score` is 'raise'.
        ValueError
            As for GridSearchCV: all fits failed, X and y are of different
            lengths, `scoring` or `refit` is wrong, and so on.

        Warns
        -----
        FitFailedWarning
            The fit of a candidate failed in some fold; says why.
        """
        X, y = indexable(X, y)
        fit_params = self._for_the_estimator(params)
        candidates = self._candidates(fit_params)
        shared = any(candidate.shares for candidate in candidates)
        goes_its_own_way = (
            type(self)._run_search is not GridSearchCV._run_search
        )  # in other candidates, or another order
        watched = is_watched(self, *(candidate.built for candidate in candidates))
        if y is None or not shared or goes_its_own_way or watched:
            return super().fit(X, y, **params)
        try:
            cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        except ValueError:
            return super().fit(X, y, **params)  # which says it in its own words
        return self._fit_together(X, y, cv, candidates, fit_params, params)

    def _for_the_estimator(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return those of the parameters of `fit` that go to the estimator."""
        if params and get_config()["enable_metadata_routing"]:
            return dict(process_routing(self, "fit", **params).estimator.fit)
        return {name: value for name, value in params.items() if name != "groups"}

    def _candidates(self, fit_params: dict[str, Any]) -> list[Candidate]:
        """Return the candidates, of which one at least has a head."""
        found = []
        if is_ours(self.estimator) or isinstance(self.estimator, Pipeline):
            found = [Candidate(params, self.estimator, fit_params) for params in ParameterGrid(self.param_grid)]
        if not (is_ours(self.estimator) or any(is_ours(candidate.built) for candidate in found)):
            msg = (
                f"The 'estimator' parameter of {type(self).__name__} must be a HeadClassifier, a "
                f"BertSentimentClassifier or a Pipeline that ends in one. Got {self.estimator!r} instead. Use "
                "sklearn.model_selection.GridSearchCV for other estimators: it takes the same arguments."
            )
            raise InvalidParameterError(msg)
        return found

    def _fit_together(
        self, X: Any, y: Any, cv: Any, candidates: list[Candidate], fit_params: dict[str, Any], params: dict[str, Any]
    ) -> Self:
        """Run scikit-learn's search over a stand-in, which answers for the candidates."""
        scoring, own_scorer = through_whole(self.scoring)
        routed_to_score = params and get_config()["enable_metadata_routing"]
        splits = Splits(cv, self.cv, X)
        training = Training(
            candidates,
            X,
            y,
            fit_params,
            jobs={"n_jobs": self.n_jobs, "pre_dispatch": self.pre_dispatch},
            train_scores=self.return_train_score,
            whole=bool(own_scorer or (routed_to_score and asks_score(scoring))),
            raise_errors=isinstance(self.error_score, str),
        )

        def choose(results: dict[str, Any]) -> Any:
            set_times(results, training)
            return self.refit(results)

        rehearsal = copy(self)
        rehearsal.estimator = StandIn(Stage(self.estimator, training, splits, X, y))
        rehearsal._forget()
        rehearsal.cv, rehearsal.scoring = splits, scoring
        if isinstance(self.n_jobs, Integral | None):
            rehearsal.n_jobs = 1  # what is left of the work takes no time, and is done in order
        if callable(self.refit):
            rehearsal.refit = choose
        try:
            super(HeadSearchCV, rehearsal).fit(np.arange(count_rows(X)), y, **params)
        except SearchEndedError as ended:
            raise ended.args[0] from None
        if not callable(self.refit):
            set_times(rehearsal.cv_results_, training)

        learned = {name: value for name, value in vars(rehearsal).items() if is_fitted_name(name)}
        learned["scorer_"] = self._real_scorers()
        if self.refit:
            learned["best_estimator_"] = rehearsal.best_estimator_.whole
        self._forget()
        self.__dict__.update(learned)
        return self

    def _real_scorers(self) -> Any:
        """Return what GridSearchCV has as `scorer_`."""
        if callable(self.scoring):
            return self.scoring
        if self.scoring is None or isinstance(self.scoring, str):
            return check_scoring(self.estimator, self.scoring)
        named = self.scoring if isinstance(self.scoring, dict) else {name: name for name in self.scoring}
        return {name: check_scoring(self.estimator, one) for name, one in named.items()}


def asks_score(scoring: Any) -> bool:
    """Say whether a scorer is the estimator's own `score`."""
    return scoring is None or (isinstance(scoring, dict) and None in scoring.values())


def set_times(results: dict[str, Any], training: Training) -> None:
    """Put the time that fits took into the results, and add what scoring took beyond them."""
    fit, score = training.fit_seconds, training.score_seconds + results["mean_score_time"][:, None]
    for name, seconds in {"fit_time": fit, "score_time": score}.items():
        results[f"mean_{name}"], results[f"std_{name}"] = seconds.mean(axis=1), seconds.std(axis=1)
