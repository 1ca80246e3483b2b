"""HeadClassifier, the estimator itself. Part of ``_head``; how it learns and what it answers is beside it."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import ClassifierMixin

from skbert._base import SkbertEstimator
from skbert._head import fitting, inputs
from skbert._head.learning import Learning
from skbert._head.predictions import Predictions
from skbert._params import Rules
from skbert._sklearn import FitTask, with_callbacks

__all__ = ["HeadClassifier"]


class HeadClassifier(Learning, Predictions, ClassifierMixin, SkbertEstimator):
    """Classify vectors with a small network, trained by torch.

    A multilayer perceptron for the output of a frozen encoder: standardised
    inputs, hidden layers with ReLU and dropout, AdamW, cross-entropy, early
    stopping on a validation part. It works on any 2-D data; its defaults were
    chosen on vectors of tweets with 384 and with 1,536 columns.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256,)
        Numbers of units of the hidden layers. The empty tuple makes a linear
        model.
    dropout : float, default=0.5
        Share of each hidden layer's units that are left out at random in a
        training step, in [0, 1) [2]_.
    weight_decay : float, default=5.0
        AdamW's decoupled decay [1]_: each step takes ``learning_rate_init *
        weight_decay`` of the weights away; biases do not decay. 5 is much, and
        serves vectors with many columns. With few columns, try 0.5.
    batch_size : int, default=256
        Rows of a mini-batch, at most; mini-batches are of nearly equal size.
    learning_rate_init : float, default=1e-3
        AdamW's learning rate, the same in all epochs.
    max_iter : int, default=200
        Number of epochs, at most.
    early_stopping : bool, default=True
        Split off a validation part, stop when its weighted loss no longer
        falls, and go back to the epoch where it was least [3]_. Where a class
        has too few different rows for the split, a warning says so and
        training runs for `max_iter` epochs, as it does for False.
    validation_fraction : float, default=0.1
        Share of each class's weight that goes to the validation part, in
        (0, 1). Equal rows are all in it or not at all.
    n_iter_no_change : int, default=5
        Number of epochs in a row that may gain no more than `tol`.
    tol : float, default=1e-4
        Fall of the validation loss, in nats, that counts as a gain.
    class_weight : dict, 'balanced', 'balanced_sqrt' or None, default=None
        What the weight of a row of each class is multiplied with, in the loss
        and in the validation loss, not in the accuracy. 'balanced' makes all
        classes weigh the same. 'balanced_sqrt' takes the square roots of its
        weights: rare classes are found more often, and accuracy and
        probabilities suffer less. Classes that a dict leaves out weigh 1.
    n_heads : int, default=1
        Number of networks that are trained at once, each with its own initial
        weights and dropout. Their probabilities are averaged.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'mps'}, default='auto'
        Where to train. 'auto' is a CUDA GPU where torch sees one, otherwise
        the CPU. Predictions are computed with numpy on any machine.
    random_state : int, RandomState instance or None, default=None
        Seed of the validation part, the initial weights, the order of the
        rows and the dropout. Pass an int for a fit that can be repeated. None
        takes a seed from numpy's global generator, as in scikit-learn;
        torch's global generator is never touched.
    verbose : int, default=0
        1 or more shows a bar over the epochs on stderr.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X had names that are all strings.
    n_iter_ : int
        Number of epochs run, with `partial_fit` over all calls.
    best_iter_ : int
        The epoch whose weights were kept, counted from 1: that of the least
        validation loss, or the last one without a validation part.
    loss_curve_ : list of float
        Weighted mean of the training loss over each epoch, in nats, with the
        dropout of its steps.
    validation_loss_curve_ : list of float or None
        Weighted loss on the validation part after each epoch, in nats. None
        where there was no validation part.
    validation_scores_ : list of float or None
        Accuracy on the validation part after each epoch, by `sample_weight`.
    best_validation_score_ : float or None
        Accuracy at `best_iter_`.
    coefs_ : list of ndarray of shape (n_heads, n_in, n_out)
        Float32 weights of each layer, for standardised rows.
    intercepts_ : list of ndarray of shape (n_heads, n_out)
        Float32 biases of each layer.
    temperature_ : float
        What log-probabilities are divided by before they are normalised [6]_:
        above 1 where the network was too sure of itself on the validation
        part, else 1. It changes no prediction. 1 without a validation part,
        and kept by `partial_fit`.
    mean_, scale_ : ndarray of shape (`n_features_in_`,)
        Float64 mean and standard deviation of the columns over the training
        part; 1 in `scale_` for a column that does not vary.

    See Also
    --------
    BertSentimentClassifier : The same with an embedder before it, for texts.
    TrainingHistoryDisplay : Draws the curves.
    sklearn.linear_model.LogisticRegression : Often nearly as good on frozen
        vectors, with one parameter to choose.

    Notes
    -----
    *Weights and copies.* Equal rows with the same label are merged before the
    training and their weights added up. So a row of weight 2 is two copies of
    it, a row of weight 0 is no row, and the order of the rows does not matter,
    all to the bit. A row that weighs much more than the mean is drawn several
    times an epoch, with a share of its weight each time.

    *Cost.* An epoch of n rows, d columns and h hidden units is about
    ``4 * n * d * h`` floating point operations for each head: 0.14 seconds on
    two CPU cores for 10,000 rows of 1,536 columns and 256 units. A fit needs
    one float32 copy of X, and none in float64.

    *Determinism.* The same data, parameters and `random_state` give the same
    weights to the bit on a CPU with the same number of threads. Prediction is
    in float64: the rows beside it change a row's probabilities by 1e-15 at most.

    *Pickling.* A pickle holds numpy arrays only, and loads without a GPU.

    *Weights* are drawn as in [4]_, those of the last layer smaller. `fit`
    validates and keeps their running mean over about two epochs [5]_.

    References
    ----------
    .. [1] Loshchilov, I., and Hutter, F. (2019). Decoupled weight decay
       regularization. ICLR.
    .. [2] Srivastava, N., Hinton, G., Krizhevsky, A., Sutskever, I., and
       Salakhutdinov, R. (2014). Dropout: a simple way to prevent neural
       networks from overfitting. JMLR 15, 1929-1958.
    .. [3] Prechelt, L. (1998). Early stopping - but when? Neural Networks:
       Tricks of the Trade, 55-69.
    .. [4] He, K., Zhang, X., Ren, S., and Sun, J. (2015). Delving deep into
       rectifiers. ICCV, 1026-1034.
    .. [5] Polyak, B. T., and Juditsky, A. B. (1992). Acceleration of stochastic
       approximation by averaging. SIAM J. Control Optim. 30, 838-855.
    .. [6] Guo, C., Pleiss, G., Sun, Y., and Weinberger, K. Q. (2017). On
       calibration of modern neural networks. ICML, 1321-1330.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skbert import HeadClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> head = HeadClassifier(random_state=0).fit(X_train, y_train)
    >>> head.score(X_test, y_test) > 0.95
    True
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here
    _also_fitted = ("_moments", "_optimizer")

    _parameter_rules: Rules = inputs.PARAMETER_RULES

    def __init__(
        self,
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
        """Train on X and y, forgetting an earlier fit unless `warm_start` is set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of finite numbers; float32 is not copied to float64.
        y : array-like of shape (n_samples,)
            Labels: strings, integers or booleans, of two classes at least.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, from 0 up; only their ratios matter. They
            count in the standardisation, the loss, the validation loss and
            the validation accuracy. None is 1 for each row.

        Returns
        -------
        HeadClassifier
            The classifier itself.

        Raises
        ------
        InvalidParameterError
            A parameter has a value that it may not have, or names a device
            that is not there.
        ValueError
            X, y or `sample_weight` can't be learned from, or the loss was no
            longer a finite number.

        Warns
        -----
        ValidationSplitWarning
            A class has too few different rows for a validation part.
        LeakageWarning
            Rows of the validation part have copies in the training part that
            differ by rounding only.
        SkbertWarning
            The training was interrupted by the user (Ctrl-C), or diverged after
            good epochs. The best weights so far are kept, and no error is raised.
        """
        task = FitTask(self, X, y, sample_weight, self.max_iter)
        self._fit(X, y, sample_weight, fitting.FitMonitor(type(self).__name__, self.verbose, task))
        task.end()
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on a part of the data.

        The standardisation goes along with the parts: mean and scale are those
        of all rows seen so far, and the weights are rewritten for them, so
        that moving them does not change a prediction. There is no validation
        part and no early stopping. Ctrl-C ends the call, and leaves the
        classifier as it was before it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of finite numbers.
        y : array-like of shape (n_samples,)
            Labels; not every class need be there.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come. Required at the first call, unless
            there was a `fit`, and optional after it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, from 0 up, with a mean of the part's own: each
            part counts by its rows, not by its weight. None is 1 for each.

        Returns
        -------
        HeadClassifier
            The classifier itself.

        Raises
        ------
        InvalidParameterError
            As for `fit`, or `class_weight` is a str.
        ValueError
            As for `fit`; or `classes` is missing or has changed, or a label
            is not among them.
        """
        return self._fit_part(X, y, classes, sample_weight)

    @classmethod
    def _upgrade(cls, state: dict[str, Any], number: int) -> dict[str, Any]:
        if number == 1 and "_moments" in state:
            state["_moments"] = tuple(state["_moments"])
        if number == 2 and "coefs_" in state:
            state["temperature_"] = 1.0
        return state
