"""BertSentimentClassifier, the estimator itself. Part of ``_classifier``."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, clone

from skbert._base import SkbertEstimator
from skbert._classifier.checks import check_labels, check_same_kind, check_same_vectors, check_start, texts_of
from skbert._classifier.predictions import TextPredictions, as_matrix
from skbert._embedder import BertEmbedder
from skbert._head import HeadClassifier
from skbert._head.fitting import FitMonitor
from skbert._params import Rules, check_params, instance, none
from skbert._sklearn import FitTask, with_callbacks
from skbert._store.memory import MemoryStore
from skbert._texts import near_keys
from skbert.exceptions import InvalidParameterError

__all__ = ["BertSentimentClassifier"]

# What a fitted classifier still reads from `embedder` when it is used: where the weights and the work are, nothing
# that changes a vector. So a pickle can be pointed at the same weights elsewhere without a refit.
_AT_USE = ("model", "revision", "device", "batch_tokens", "cache", "verbose")
_COLUMNS = ("n_features_in_", "feature_names_in_")
_FOR_CALLBACKS = 2**40  # bytes: without bound, since it lives as long as the fit
_CURVES = (
    "classes_",
    "n_iter_",
    "best_iter_",
    "loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "temperature_",
)


class BertSentimentClassifier(TextPredictions, ClassifierMixin, SkbertEstimator):
    """Classify texts by a small network on the vectors of a frozen BERT.

    Texts go through a :class:`BertEmbedder` once, however many epochs follow,
    and a :class:`HeadClassifier` is trained on their vectors. Sentiment is
    what it was made for; any labels do. Use it where a few hundred to a few
    hundred thousand labelled texts are at hand and minutes matter. The BERT
    itself learns nothing: this is no fine-tuning.

    Parameters
    ----------
    embedder : BertEmbedder or None, default=None
        None is ``BertEmbedder(layers=(-4, -3, -2, -1))``, whose model, BERT base
        (uncased), comes from the Hugging Face hub. It is cloned, never changed.
        In a grid its parameters are `embedder__pooling` and so on; for that,
        pass an embedder, since None has no parameters.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers; () is a linear model.
    dropout : float, default=0.5
        Share of the hidden units that a training step leaves out, in [0, 1).
    weight_decay : float, default=5.0
        AdamW's decoupled weight decay.
    batch_size : int, default=256
        Texts a training step.
    learning_rate_init : float, default=1e-3
        AdamW's learning rate.
    max_iter : int, default=200
        Most epochs.
    early_stopping : bool, default=True
        Split a validation part off, stop when its weighted loss no longer
        falls, and go back to the epoch where it was least. The split is
        stratified and keeps copies of a text on one side.
    validation_fraction : float, default=0.1
        Size of that part, in (0, 1).
    n_iter_no_change : int, default=5
        Epochs without a gain of `tol` before stopping.
    tol : float, default=1e-4
        What counts as a gain, in units of the loss.
    class_weight : dict, 'balanced', 'balanced_sqrt' or None, default=None
        Weights of the classes in the loss. 'balanced' makes all classes weigh
        the same; 'balanced_sqrt' takes the square roots of its weights.
    n_heads : int, default=1
        Networks that are trained at once and averaged in probability.
    warm_start : bool, default=False
        Whether `fit` goes on from the present weights.
    device : str, default='auto'
        Where the head is trained; the embedder has its own.
    random_state : int, RandomState instance or None, default=None
        Seed of the split, the initial weights, the order and the dropout.
    verbose : int, default=0
        1 shows a bar over the epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    embedder_ : BertEmbedder
        The fitted embedder. What identifies a vector is taken from it; `model`,
        `revision`, `device`, `batch_tokens`, `cache` and `verbose` are read
        from `embedder` when the classifier is used.
    head_ : HeadClassifier
        The fitted head.
    n_iter_ : int
        Epochs run.
    best_iter_ : int
        The epoch whose weights were kept, counted from 1.
    loss_curve_, validation_loss_curve_ : list of float
        Weighted mean loss of each epoch, on the training and on the
        validation part.
    validation_scores_ : list of float
        Accuracy on the validation part after each epoch.
    best_validation_score_ : float or None
        Accuracy at the epoch that was restored.
    temperature_ : float
        What log-probabilities are divided by, so that they are no surer than
        the validation part allows; see HeadClassifier. It changes no
        prediction.
    n_features_in_ : int
        Number of columns, where `fit` was given a frame.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names.

    See Also
    --------
    BertEmbedder : The vectors alone, for any other estimator.
    HeadClassifier : The network alone, for any other vectors.
    TrainingHistoryDisplay : Draws the loss curves.

    Notes
    -----
    *Cost.* Embedding is nearly all of it, once a text; see BertEmbedder. An
    epoch over 10,000 texts takes a fraction of a second on two CPU cores.

    *Pickling.* A pickle holds the head's weights and the encoder's fingerprint,
    not the encoder. Load it elsewhere and, if the same weights lie under
    another path, say so: ``clf.set_params(embedder__model="their/folder")``.
    Other weights are refused.

    *Honest scores.* Copies of one text (retweets) on both sides of a split
    flatter every score: cross-validate with the text as group. Where a
    cleaner stands before the classifier, use the cleaned texts, since it can
    make copies of texts that were different.

    Examples
    --------
    >>> from skbert import BertEmbedder, BertSentimentClassifier
    >>> from skbert.datasets import load_sample_tweets
    >>> X, y = load_sample_tweets(return_X_y=True)
    >>> clf = BertSentimentClassifier(BertEmbedder("all-MiniLM-L6-v2"), random_state=0)
    >>> clf.fit(X, y).predict(["What a wonderful answer, I am so happy!"])
    array(['positive'], dtype=object)
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here

    _parameter_rules: Rules = {  # noqa: RUF012
        "embedder": (none(), instance(BertEmbedder, text="a BertEmbedder")),
        **HeadClassifier._parameter_rules,
    }

    def __init__(
        self,
        embedder: BertEmbedder | None = None,
        *,
        hidden_layer_sizes: Any = (256,),
        dropout: float = 0.5,
        weight_decay: float = 5.0,
        batch_size: int = 256,
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        tol: float = 1e-4,
        class_weight: Any = None,
        n_heads: int = 1,
        warm_start: bool = False,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.embedder = embedder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.n_heads = n_heads
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Embed the texts and train the head on their vectors.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.
        y : array-like of shape (n_samples,)
            Labels: strings, integers or booleans.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        BertSentimentClassifier
            The classifier itself.

        Raises
        ------
        InvalidParameterError
            A parameter, of the classifier or of its embedder, has a value that
            it may not have.
        ValueError
            X, y or `sample_weight` can't be learned from, or the loss was no
            longer a finite number.

        Warns
        -----
        ValidationSplitWarning
            A class has too few different texts for a validation part.
        LeakageWarning
            Texts of the validation part are nearly the same as texts of the
            training part; see :func:`text_report` for what that means.
        SkbertWarning
            The training of the head was interrupted by the user (Ctrl-C), or
            diverged after good epochs. The best weights so far are kept, and
            no error is raised. Ctrl-C before it, while texts are embedded,
            ends the call as usual.
        """
        going_on = self.warm_start and hasattr(self, "head_")
        embedder, labels, is_pairs = self._start(X, y, sample_weight, going_on=going_on)
        near = near_keys(texts_of(X, embedder, type(self).__name__).items) if self.early_stopping else None
        task = FitTask(self, X, y, sample_weight, self.max_iter).begin()
        working = embedder
        if task.is_watched and embedder.cache is None:
            # A callback may predict X after each epoch; these vectors serve it, so that BERT still runs once a text.
            working = self._like(embedder, cache=MemoryStore(_FOR_CALLBACKS))
        vectors = as_matrix(working, X)
        head = self._head(going_on)

        def present(learned: dict[str, Any]) -> dict[str, Any]:
            so_far = copy(head)
            so_far.__dict__.update(learned)
            return {**self._learned(embedder, so_far, is_pairs), "embedder": working}

        monitor = FitMonitor(type(self).__name__, self.verbose, task, present)
        head._fit(vectors, labels, sample_weight, monitor, near)
        self._forget()
        self.__dict__.update(self._learned(embedder, head, is_pairs))
        task.end(**({"embedder": working} if working is not embedder else {}))
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Embed the texts and train the head for one epoch over them.

        Ctrl-C ends the call, and leaves the classifier as it was before it.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; required at the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss.

        Returns
        -------
        BertSentimentClassifier
            The classifier itself.
        """
        going_on = hasattr(self, "head_")
        embedder, labels, is_pairs = self._start(X, y, sample_weight, classes, going_on=going_on, whole=False)
        head = self._head(going_on)
        vectors = as_matrix(self._serving_embedder() if going_on else embedder, X)
        if going_on:
            embedder, is_pairs = self.embedder_, self._is_pairs
        head.partial_fit(vectors, labels, classes=classes, sample_weight=sample_weight)
        self.__dict__.update(self._learned(embedder, head, is_pairs))
        return self

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the classifier, and of its embedder as `embedder__pooling` and so on.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        BertSentimentClassifier
            The classifier itself.

        Raises
        ------
        InvalidParameterError
            A parameter of the embedder is set where there is no embedder.
        """
        nested = [name for name in params if name.startswith("embedder__")]
        embedder = params.get("embedder", self.embedder)
        if nested and not isinstance(embedder, BertEmbedder):
            name = type(self).__name__
            msg = (
                f"The 'embedder' parameter of {name} must be a BertEmbedder for {nested[0]!r} to be set. "
                f"Got {embedder!r} instead. Pass an embedder: {name}(BertEmbedder(layers=(-4, -3, -2, -1))) is what "
                "None stands for."
            )
            raise InvalidParameterError(msg)
        return super().set_params(**params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        # What is no embedder is refused where the work starts, in better words than an AttributeError here.
        tags.input_tags.allow_nan = getattr(self._source(), "missing", "error") == "empty"
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "head_")

    # -- helpers -----------------------------------------------------------------------------------------------

    def _source(self) -> BertEmbedder:
        return BertEmbedder(layers=(-4, -3, -2, -1)) if self.embedder is None else self.embedder

    def _head(self, going_on: bool) -> HeadClassifier:
        """Return the head to train: a new one, or a copy of the present one, either with the parameters of now."""
        head = copy(self.head_) if going_on else HeadClassifier()
        return head.set_params(**{name: getattr(self, name) for name in HeadClassifier._parameter_rules})

    def _start(
        self, X: Any, y: Any, sample_weight: Any, classes: Any = None, *, going_on: bool, whole: bool = True
    ) -> tuple[BertEmbedder, np.ndarray, bool]:
        """Check all that can be checked before a text is embedded; return a fitted embedder, labels, and if pairs."""
        check_params(self)
        name, source = type(self).__name__, self._source()
        texts = check_start(X, source, self.device, name)
        if going_on:
            check_same_kind(texts, self._is_pairs, name)
            self._head(going_on)._check_shapes()
        before = self.classes_ if going_on else None
        n = len(texts.items)
        labels = check_labels(y, sample_weight, classes, before, self.class_weight, n, name, whole)
        embedder = clone(source).fit(X)
        if going_on:
            what = "warm_start=True" if whole else "partial_fit"
            check_same_vectors(embedder, self._serving_embedder(), self.embedder_, what)
        return embedder, labels, texts.is_pairs

    def _learned(self, embedder: BertEmbedder, head: HeadClassifier, is_pairs: bool) -> dict[str, Any]:
        """Return the attributes of a classifier that has learned this."""
        learned: dict[str, Any] = {"embedder_": embedder, "head_": head, "_is_pairs": is_pairs}
        learned |= {name: getattr(head, name) for name in _CURVES if hasattr(head, name)}
        learned |= {name: getattr(embedder, name) for name in _COLUMNS if hasattr(embedder, name)}
        return learned

    def _serving_embedder(self) -> BertEmbedder:
        """Return an embedder as at the fit, with the weights and on the device that `embedder` names now."""
        source = self._source()
        return self._like(self.embedder_, **{name: getattr(source, name) for name in _AT_USE if hasattr(source, name)})

    @staticmethod
    def _like(fitted: BertEmbedder, **params: Any) -> BertEmbedder:
        """Return a copy of a fitted embedder with other parameters, and still fitted."""
        like = copy(fitted)
        for name, value in params.items():  # not by set_params: a subclass may have fewer parameters
            setattr(like, name, value)
        return like
