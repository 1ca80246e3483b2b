"""Pictures of what a fit went through. A leaf at the top of the house: nothing imports it but the package's root.

matplotlib is optional, and imported only where something is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

__all__ = ["TrainingHistoryDisplay"]


class TrainingHistoryDisplay:
    """Loss and accuracy of a training, epoch by epoch.

    It shows whether a training was long enough (the validation loss has come
    to rest), too bold (the curves jump), or past its best (the validation
    loss rises while the training loss goes on falling), and marks the epoch
    whose weights the classifier kept. Use :meth:`from_estimator`; the
    constructor takes curves that were computed before.

    Parameters
    ----------
    loss_curve : sequence of float
        Training loss of each epoch.
    validation_loss_curve : sequence of float or None, default=None
        Loss on the validation part after each epoch; None where there was
        none.
    validation_scores : sequence of float or None, default=None
        Accuracy on the validation part after each epoch, from 0 to 1.
    best_iter : int or None, default=None
        The epoch whose weights were kept, counted from 1. None leaves the mark
        out.
    estimator_name : str or None, default=None
        Title of the picture.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the losses.
    score_ax_ : matplotlib Axes or None
        Axes with the accuracy, its scale on the right; None without accuracy.
    figure_ : matplotlib Figure
        Figure that holds them.
    loss_line_, validation_loss_line_, validation_score_line_ : matplotlib Line2D or None
        The curves; None for a curve that is not there.
    best_iter_line_ : matplotlib Line2D or None
        The mark at the kept epoch.

    See Also
    --------
    skbert.HeadClassifier : Has the attributes that are drawn here.

    Notes
    -----
    Training and validation loss can't be compared to the digit. The training
    loss of an epoch is a mean over its steps, with dropout, while the weights
    still change; the validation loss is that of its last weights without
    dropout. So the training loss may well lie above.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skbert import HeadClassifier, TrainingHistoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = HeadClassifier(random_state=0).fit(X, y)
    >>> display = TrainingHistoryDisplay.from_estimator(classifier)
    >>> plt.show()
    """

    def __init__(
        self,
        *,
        loss_curve: Sequence[float],
        validation_loss_curve: Sequence[float] | None = None,
        validation_scores: Sequence[float] | None = None,
        best_iter: int | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.best_iter = best_iter
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, accuracy: bool = True, **kwargs: Any
    ) -> TrainingHistoryDisplay:
        """Draw the training of a fitted classifier.

        Parameters
        ----------
        estimator : estimator instance
            Fitted, with `loss_curve_` and, where it has them,
            `validation_loss_curve_`, `validation_scores_` and `best_iter_`: a
            HeadClassifier, a BertSentimentClassifier, scikit-learn's
            MLPClassifier. Or a fitted Pipeline that ends in one, or a search
            whose `best_estimator_` is one of these.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the estimator's class.
        accuracy : bool, default=True
            Draw the validation accuracy as well.
        **kwargs : dict
            Passed to matplotlib's `plot` for every curve.

        Returns
        -------
        TrainingHistoryDisplay
            With the artists it has drawn.

        Raises
        ------
        NotFittedError
            The estimator is not fitted, or keeps no `loss_curve_`.
        ImportError
            matplotlib is not installed.
        """
        last = estimator
        while isinstance(last, Pipeline) or hasattr(last, "best_estimator_"):
            last = last.steps[-1][1] if isinstance(last, Pipeline) else last.best_estimator_
        if not hasattr(last, "loss_curve_"):
            check_is_fitted(last)  # scikit-learn's words for the usual case
            msg = (
                f"{type(last).__name__} has no loss_curve_: it was fitted in a way that keeps no training history. "
                "Pass a fitted HeadClassifier or BertSentimentClassifier, or a Pipeline that ends in one."
            )
            raise NotFittedError(msg)
        losses = getattr(last, "validation_loss_curve_", None)
        scores = getattr(last, "validation_scores_", None)
        best = getattr(last, "best_iter_", None)
        if best is None and losses is not None and len(losses):
            best = int(np.argmin(losses)) + 1
        elif best is None and scores is not None and len(scores):  # scikit-learn's MLPClassifier goes by the score
            best = int(np.argmax(scores)) + 1
        display = cls(
            loss_curve=last.loss_curve_,
            validation_loss_curve=losses,
            validation_scores=scores,
            best_iter=best or None,
            estimator_name=type(last).__name__ if name is None else name,
        )
        return display.plot(ax=ax, accuracy=accuracy, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, accuracy: bool = True, **kwargs: Any
    ) -> TrainingHistoryDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Title of the picture; None takes `estimator_name`.
        accuracy : bool, default=True
            Draw the validation accuracy as well, on a scale of its own on the
            right.
        **kwargs : dict
            Passed to matplotlib's `plot` for every curve.

        Returns
        -------
        TrainingHistoryDisplay
            The display itself.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
            from matplotlib.cbook import normalize_kwargs
            from matplotlib.lines import Line2D
            from matplotlib.ticker import MaxNLocator, PercentFormatter
        except ImportError as error:
            msg = "TrainingHistoryDisplay.plot requires matplotlib. Install it with: pip install 'skbert[plot]'"
            raise ImportError(msg) from error

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_, self.score_ax_ = ax, ax.figure, None
        self.validation_loss_line_ = self.validation_score_line_ = self.best_iter_line_ = None

        # matplotlib takes no "lw" beside the "linewidth" that is set here.
        given = normalize_kwargs(kwargs, Line2D)
        # Curves may be arrays, which are neither true nor false.
        validation_losses = () if self.validation_loss_curve is None else self.validation_loss_curve
        scores = () if self.validation_scores is None else self.validation_scores

        def curve(axes: Any, values: Sequence[float], **style: Any) -> Any:
            # A training of one epoch is a point, which a line does not show.
            style = {"marker": "o" if len(values) == 1 else None, "linewidth": 2} | style | given
            return axes.plot(np.arange(1, len(values) + 1), values, **style)[0]

        self.loss_line_ = curve(ax, self.loss_curve, color="tab:blue", label="training loss")
        if len(validation_losses):
            self.validation_loss_line_ = curve(ax, validation_losses, color="tab:orange", label="validation loss")
        if self.best_iter is not None:
            label = f"weights kept: epoch {self.best_iter}"
            self.best_iter_line_ = ax.axvline(
                self.best_iter, color="0.35", linestyle="--", linewidth=1.2, zorder=1, label=label
            )
            if len(validation_losses):
                ax.plot(self.best_iter, validation_losses[self.best_iter - 1], "o", color="tab:orange")
        if accuracy and len(scores):
            self.score_ax_ = ax.twinx()
            self.validation_score_line_ = curve(
                self.score_ax_, scores, color="tab:green", linestyle=":", label="validation accuracy"
            )
            self.score_ax_.set_ylabel("accuracy", color="tab:green")
            self.score_ax_.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
            self.score_ax_.spines["top"].set_visible(False)

        ax.set(xlabel="epoch", ylabel="loss", title=self.estimator_name or "" if name is None else name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(True, alpha=0.25)
        ax.spines["top"].set_visible(False)
        ax.spines["right"].set_visible(self.score_ax_ is not None)
        lines = [self.loss_line_, self.validation_loss_line_, self.validation_score_line_, self.best_iter_line_]
        # Below the picture: inside, a legend would cover one of the curves, which fill the axes from corner to corner.
        handles = [line for line in lines if line is not None]
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
        return self
