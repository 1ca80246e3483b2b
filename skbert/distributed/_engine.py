"""From a table with texts to the same table with their vectors: what each worker does. Part of ``distributed``.

Knows pyarrow and the embedder, and nothing of Ray.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import Any, Protocol

import numpy as np
from sklearn.pipeline import Pipeline

from skbert._embedder import BertEmbedder
from skbert._engine.probing import probing
from skbert._engine.spec import EncoderSpec
from skbert._texts import is_missing, show
from skbert.exceptions import CacheWarning, InvalidParameterError, MissingTextError, TextInputError

__all__ = ["Columns", "Engine", "Place", "check_columns", "embedder_of"]

_SHOWN = 5  # rows that an error lists before it says "…"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where the texts are, and where their vectors go, with the dtype that these are kept in."""

    text: str
    output: str
    pair: str | None = None
    dtype: str = "float32"

    @property
    def read(self) -> tuple[str, ...]:
        return (self.text,) if self.pair is None else (self.text, self.pair)


class Place(Protocol):
    """Where the rows of a table come from, for errors."""

    def row(self, row: int) -> str:
        """Name a row of the table."""

    def whole(self) -> str:
        """Name the table, and say what its first row is."""


def embedder_of(embedder: Any, function: str) -> BertEmbedder:
    """Return the BertEmbedder that `embedder` is, or that stands at the end of the Pipeline that it is."""
    last = embedder.steps[-1][1] if isinstance(embedder, Pipeline) and embedder.steps else embedder
    if isinstance(last, BertEmbedder):
        return last
    remedy = f" A name is a model's: pass BertEmbedder({embedder!r})." if isinstance(embedder, str) else ""
    msg = (
        f"The 'embedder' parameter of {function} must be a BertEmbedder, or a Pipeline that ends in one. "
        f"Got {show(embedder)} instead.{remedy}"
    )
    raise InvalidParameterError(msg)


def check_columns(schema: Any, columns: Columns, what: str, *, has_rows: bool = True) -> None:
    """Check that a table has the columns with the texts, that these hold texts, and that the output's name is free.

    Parameters
    ----------
    schema : pyarrow.Schema, or one of Ray's that has only names
    columns : Columns
    what : str
        What has this schema, for the messages.
    has_rows : bool, default=True
        Whether there are any; without, a column is of whatever type its writer
        took.
    """
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        msg = f"{what} has more than one column of the name {twice[0]!r}. Rename them: {schema.names}."
        raise TextInputError(msg)
    for name in columns.read:
        if name not in schema.names:
            parameter = "text_column" if name == columns.text else "pair_column"
            msg = f"{parameter}={name!r} is not among the columns of {what}: {schema.names}."
            raise InvalidParameterError(msg)
        kind = schema.field(name).type if hasattr(schema, "field") else None
        if kind is not None and has_rows and not _holds_texts(kind):
            msg = f"Column {name!r} of {what} must hold str, and is of type {kind}. Convert it, or name another column."
            raise TextInputError(msg)
    if columns.output in schema.names:
        msg = (
            f"output_column={columns.output!r} is already a column of {what}, and would be replaced. "
            "Choose another name, or drop that column."
        )
        raise InvalidParameterError(msg)


def _holds_texts(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.BaseExtensionType):  # Ray's for objects, NaN among them; the embedder looks at each
        return True
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(kind) for test in tests)


class Engine:
    """One embedder with its model loaded, as a worker holds it.

    Parameters
    ----------
    embedder : BertEmbedder or Pipeline
        Copied, so that the user's own stays as it is.
    columns : Columns
    device : str
        Of the embedder in this process.
    """

    def __init__(self, embedder: Any, columns: Columns, *, device: str, dtype: str | None = None) -> None:
        self._pipeline = copy.deepcopy(embedder)
        self._embedder = embedder_of(self._pipeline, "Engine").set_params(device=device)
        if dtype is not None:
            self._embedder.set_params(dtype=dtype)
        self._columns = columns
        self.width = len(self._embedder.get_feature_names_out())
        with probing():  # loads the model; a text that nobody asked for
            self._embedder.transform([("", "")] if columns.pair is not None else [""])

    def identity(self) -> tuple[EncoderSpec, bool]:
        """Return what decides which vectors come out: the spec, and whether they are normalised."""
        return self._embedder._identity()

    def field(self) -> Any:
        """Return the pyarrow field of the vectors: a list of fixed size."""
        import pyarrow as pa

        kind = {"float32": pa.float32(), "float16": pa.float16()}[self._columns.dtype]
        return pa.field(self._columns.output, pa.list_(kind, self.width))

    def add_vectors(self, table: Any, place: Place) -> Any:
        """Return the table with the vectors as its last column.

        Parameters
        ----------
        table : pyarrow.Table
        place : Place
            Names its rows in errors.

        Raises
        ------
        MissingTextError, TextInputError
            Of the embedder, with the rows' own places.
        """
        import pyarrow as pa

        check_columns(table.schema, self._columns, place.whole(), has_rows=table.num_rows > 0)
        vectors = np.empty((0, self.width), dtype=np.float32)
        if table.num_rows:
            vectors = self._embed(table, place)
        field = self.field()
        with np.errstate(over="ignore"):  # told below, with the row
            values = vectors.astype(self._columns.dtype, copy=False)
        self._check_range(vectors, values, place)
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=field.type.value_type)
        return table.append_column(field, pa.FixedSizeListArray.from_arrays(flat, type=field.type))

    def _embed(self, table: Any, place: Place) -> np.ndarray:
        sides = [table.column(name).to_pylist() for name in self._columns.read]
        texts = sides[0] if len(sides) == 1 else list(zip(*sides, strict=True))
        if self._embedder.missing == "error" and self._pipeline is self._embedder:
            self._check_missing(sides, place)
        try:
            with warnings.catch_warnings():
                # Of millions of different texts a store in memory keeps the last ones, and that is as it should be;
                # what is told of a folder is told.
                of_memory = r"MemoryStore\(.*too small|cache='memory'"
                warnings.filterwarnings("ignore", category=CacheWarning, message=of_memory)
                vectors = np.asarray(self._pipeline.transform(texts))
        except TextInputError as error:
            msg = f"{error} X here is {place.whole()}."
            raise type(error)(msg) from error
        if vectors.shape != (table.num_rows, self.width):
            msg = (
                f"The 'embedder' must give one vector of {self.width} numbers a row. Of the {table.num_rows} rows of "
                f"{place.whole()} it gave an array of shape {vectors.shape}."
            )
            raise ValueError(msg)
        return vectors

    def _check_missing(self, sides: list[list[Any]], place: Place) -> None:
        absent = [row for row, values in enumerate(zip(*sides, strict=True)) if any(map(is_missing, values))]
        if absent:
            listed = "; ".join(map(place.row, absent[:_SHOWN])) + ("; …" if len(absent) > _SHOWN else "")
            names = " or ".join(map(repr, self._columns.read))
            msg = (
                f"Column {names} has {len(absent)} missing text(s) in {place.whole()}: {listed}. Drop or fill these "
                "rows, or set missing='empty' to give them the vector of the empty text."
            )
            raise MissingTextError(msg)

    def _check_range(self, vectors: np.ndarray, values: np.ndarray, place: Place) -> None:
        if values.dtype != np.float16:
            return
        lost = np.flatnonzero(np.isinf(values).any(axis=1) & np.isfinite(vectors).all(axis=1))
        if lost.size:
            largest = np.abs(vectors[lost[0]]).max()
            msg = (
                f"The vector of {place.row(int(lost[0]))} has a value of {largest:g}, and float16 ends at 65,504. "
                "Set output_dtype='float32', or normalize=True in the embedder."
            )
            raise ValueError(msg)
