"""embed_dataset: a Ray Dataset of texts becomes one of texts and vectors. Part of ``distributed``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skbert._params import Rules, boolean, check_arguments, check_params, instance, none, one_of
from skbert.distributed._cluster import import_ray
from skbert.distributed._engine import Columns, Engine, check_columns, embedder_of
from skbert.distributed._workers import plan_workers
from skbert.exceptions import InvalidParameterError

if TYPE_CHECKING:
    import ray.data

__all__ = ["COLUMN_RULES", "embed_dataset"]

_NAME = "embed_dataset"
_SHOWN_VALUES, _SHOWN_CHARACTERS = 4, 40  # of the other columns of a row that an error names

COLUMN_RULES: Rules = {
    "text_column": (instance(str, text="a str"),),
    "output_column": (instance(str, text="a str"),),
    "pair_column": (none(), instance(str, text="a str")),
    "output_dtype": (one_of("float32", "float16"),),
}


def embed_dataset(
    dataset: ray.data.Dataset,
    embedder: Any,
    *,
    text_column: str,
    output_column: str = "embedding",
    pair_column: str | None = None,
    output_dtype: str = "float32",
    num_gpus: float | None = None,
    num_cpus: float | None = None,
    concurrency: int | tuple[int, int] | None = None,
    batch_size: int | None = None,
    preserve_order: bool = True,
) -> ray.data.Dataset:
    """Add the vectors of a column of texts to a Ray Dataset.

    Nothing is computed yet: as with the methods of a Dataset, the work is done
    where its rows are asked for (``write_parquet``, ``iter_batches``,
    ``materialize``), by a pool of Ray actors. Each loads the model once.
    Where texts and vectors are Parquet files, :func:`embed_parquet` does more:
    it goes on after a crash.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Has the texts in one column. All its columns are kept.
    embedder : BertEmbedder or Pipeline that ends in one
        Fitted or not; the workers get a copy. A fitted embedder refuses other
        weights there too. With ``cache="memory"`` each worker has a store of
        its own, with a path those of one machine share it.
    text_column : str
        Column of str. None is missing, and gets what the embedder's `missing`
        says.
    output_column : str, default='embedding'
        Name of the new column: a fixed-size list of float a row, which
        pandas, pyarrow and polars read.
    pair_column : str or None, default=None
        Column of the second sentences, where the texts are pairs.
    output_dtype : {'float32', 'float16'}, default='float32'
        Of the new column. float16 takes half the bytes and keeps about three
        decimal digits.
    num_gpus : float or None, default=None
        GPUs a worker, 1 at most; 0.5 lets two share one. None is 1 where the cluster has
        GPUs and the embedder's `device` is "auto" or "cuda", else 0.
    num_cpus : float or None, default=None
        CPUs a worker, which on a CPU is also its number of threads. None is 1
        without a GPU, and Ray's own default with one.
    concurrency : int, tuple of two int or None, default=None
        The most workers, or the fewest and the most. None is as many as the
        cluster has room for at the call. On CPUs Ray Data starts with one and
        adds others while there is room: reading and writing need CPUs too, and
        where the fewest workers take them all, nothing is ever read.
    batch_size : int or None, default=None
        Texts a call of the embedder. None is 8,192 on a GPU, 2,048 on a CPU.
    preserve_order : bool, default=True
        Whether rows come out in their order, for which a slow block holds up
        those behind it. False is Ray Data's own default.

    Returns
    -------
    ray.data.Dataset
        The same rows with one column more.

    Raises
    ------
    ImportError
        Ray is not installed (``pip install 'skbert[ray]'``).
    InvalidParameterError, TextInputError
        At the call where the dataset's schema is known, else when it is
        executed. There Ray raises errors of the workers as RayTaskError, with
        skbert's message among its lines; a row is named by its number in its
        batch and by the values of its other columns.

    See Also
    --------
    embed_parquet : A folder of Parquet files in, a folder out; resumable.

    Notes
    -----
    *Cost.* Vectors go through Ray's object store: 4 bytes a value, 1.5 GB a
    million texts of all-MiniLM-L6-v2. Each worker on a CPU holds the weights
    (90 MB and 440 MB for all-MiniLM-L6-v2 and BERT base) and what one batch
    takes.

    *Which vectors.* Those of the embedder, in float32 within 1e-5 of those of
    ``embedder.transform``. With ``dtype="auto"`` each worker computes in the
    dtype that its device suggests: on a cluster of unlike GPUs set one.

    *What comes out.* Parquet files and ``iter_torch_batches`` have the column as
    float32 of shape (n, width). In rows (``take``, ``map``) a vector is a list
    of float: ``np.asarray(row["embedding"], dtype="float32")``. ``schema()``
    asks for a row, for which a model is loaded.

    *Work is shared by blocks*, each of which goes to one worker: a small file is
    one block (``dataset.repartition`` makes more).

    *The order of rows* is set in the dataset's own ``context``, which Ray Data
    shares with the datasets that it was made from.

    Examples
    --------
    >>> import ray
    >>> from skbert import BertEmbedder
    >>> from skbert.distributed import embed_dataset
    >>> texts = ray.data.from_items([{"id": 7, "text": "What a debate!"}])
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2")
    >>> embedded = embed_dataset(texts, embedder, text_column="text", concurrency=1)
    >>> row = embedded.take(1)[0]  # only now is there work
    >>> row["id"], len(row["embedding"])
    (7, 384)
    """
    ray = import_ray(_NAME)
    if not isinstance(dataset, ray.data.Dataset):
        msg = (
            f"The 'dataset' parameter of {_NAME} must be a ray.data.Dataset. Got {type(dataset).__name__} instead. "
            "ray.data.from_pandas and ray.data.read_parquet make one."
        )
        raise InvalidParameterError(msg)
    last = embedder_of(embedder, _NAME)
    check_params(last)
    given = {
        "text_column": text_column,
        "output_column": output_column,
        "pair_column": pair_column,
        "output_dtype": output_dtype,
    }
    check_arguments(_NAME, given | {"preserve_order": preserve_order}, COLUMN_RULES | {"preserve_order": (boolean(),)})
    columns = Columns(text_column, output_column, pair_column, output_dtype)
    workers = plan_workers(
        ray,
        last.device,
        _NAME,
        has_readers=True,
        num_gpus=num_gpus,
        num_cpus=num_cpus,
        concurrency=concurrency,
        batch_size=batch_size,
    )
    known = dataset.schema(fetch_if_missing=False)
    if known is not None:
        check_columns(known.base_schema, columns, "the dataset")
    embedded = dataset.map_batches(
        _BatchWorker,
        batch_size=workers.batch_size,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=workers.pool(ray),
        fn_constructor_args=(embedder, columns, workers.device),
        **workers.resources(),
    )
    if preserve_order:
        embedded.context.execution_options.preserve_order = True
    return embedded


class _BatchWorker:
    """One actor: an engine, and a table for each batch."""

    def __init__(self, embedder: Any, columns: Columns, device: str) -> None:
        self._engine = Engine(embedder, columns, device=device)
        self._columns = columns

    def __call__(self, table: Any) -> Any:
        return self._engine.add_vectors(table, _BatchPlace(table, self._columns))


class _BatchPlace:
    """A batch, which knows no file: a row is told by what else stands in it."""

    def __init__(self, table: Any, columns: Columns) -> None:
        self._table = table
        self._others = [name for name in table.schema.names if name not in columns.read][:_SHOWN_VALUES]

    def row(self, row: int) -> str:
        values = [f"{name}={self._show(name, row)}" for name in self._others]
        return f"row {row} of the batch" + (f" ({', '.join(values)})" if values else "")

    def whole(self) -> str:
        return f"a batch of {self._table.num_rows} rows"

    def _show(self, name: str, row: int) -> str:
        text = repr(self._table.column(name)[row].as_py())
        return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
