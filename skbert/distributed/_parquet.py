"""embed_parquet: a folder of Parquet files with texts becomes one with vectors. Part of ``distributed``.

The parts go through a pool of Ray Data's as a Dataset of their descriptions: Ray shares them out, and starts workers
that die again. What is written, and when it counts as finished, is decided in ``_parts``.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any

from sklearn.pipeline import Pipeline

from skbert._params import boolean, check_arguments, check_params, instance, integer, none
from skbert.distributed._cluster import count_cpus, import_ray, running_ray
from skbert.distributed._dataset import COLUMN_RULES
from skbert.distributed._engine import Columns, embedder_of
from skbert.distributed._folders import Folders
from skbert.distributed._manifest import Manifest, make_request
from skbert.distributed._pool import ask_worker, digest_on_ray, embed
from skbert.distributed._run import Run
from skbert.distributed._sources import cut, list_sources, rows_a_part, with_digests
from skbert.distributed._workers import RULES, plan_workers
from skbert.exceptions import TargetError

__all__ = ["embed_parquet"]

_NAME = "embed_parquet"


def embed_parquet(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
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
    rows_per_part: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Embed the texts of a folder of Parquet files into another folder.

    The rows are cut into parts, which Ray's workers embed, each with the model
    loaded once. A part is written beside the target and moved there whole when
    it is finished and verified. So after a crash, a kill or an error the same
    call goes on: finished parts are not embedded again.

    Ray is the one that this process is connected to (``ray.init``), or that
    the environment variable RAY_ADDRESS names. Where there is neither, one is
    started on this machine, which no other can reach and which has no
    dashboard, and stopped in the end.

    Parameters
    ----------
    source : str or path
        Folder with ``*.parquet`` files, also in folders below it, or one file.
        Files and folders whose name begins with "." or "_" are left out.
    target : str or path
        Folder of the result: new, empty, or made by the same call before. It
        gets the folders of the source, and for each of its files
        ``name.part-000000.parquet`` and so on, which sort in the order of the
        rows, and nothing else.
    embedder : BertEmbedder or Pipeline that ends in one
        Fitted or not; the workers get a copy.
    text_column : str
        Column of str. None is missing, and gets what the embedder's `missing`
        says.
    output_column : str, default='embedding'
        Name of the new column: a fixed-size list of float a row, which
        pandas, pyarrow and polars read. All other columns are kept.
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
        Number of workers, or the fewest and the most between which Ray Data
        chooses. None is as many as the cluster has room for at the call.
    batch_size : int or None, default=None
        Texts a call of the embedder. None is 8,192 on a GPU, 2,048 on a CPU.
    rows_per_part : int or None, default=None
        Rows a part at most: what is lost when a worker dies. None is a 64th
        of all rows, but at least 2,048 and at most 65,536; a target that was
        begun keeps its own.
    progress : bool, default=True
        Whether a bar of the rows is shown.

    Returns
    -------
    dict
        The manifest, which is also written to ``<target>.manifest.json``:
        "request" (the vectors' identity: weights, layers, pooling …),
        "counts", "complete", "sources", "parts" (of each its rows, bytes,
        missing texts, seconds, worker), and "runs" (of each what it embedded
        and what it kept; the last is this one).

    Raises
    ------
    ImportError
        Ray is not installed (``pip install 'skbert[ray]'``).
    InvalidParameterError
        A parameter is wrong, or a file has no such column.
    MissingTextError, TextInputError
        A text is missing, or is none; names the row and the file.
    ModelNotFoundError, ModelFilesError, FingerprintError
        As in ``embedder.transform``; raised before anything is written.
    TargetError
        The target holds something else, or vectors of other settings; the
        source changes meanwhile; or five workers died over the same part.

    Warns
    -----
    TruncationWarning
        Texts were cut; of each part in the manifest, of the first ones here.

    See Also
    --------
    embed_dataset : A column more for a Ray Dataset.

    Notes
    -----
    *Cost.* Vectors go from the worker to the file, never through Ray. A worker
    holds the weights, one batch, and 64 MB of finished rows, whatever the size
    of the data. At the start the source is read once for the SHA-256 of its
    files, by all CPUs (about 1 GB a second each); later runs trust files of
    the same size and time of change. Starting Ray and the workers takes 10 to 20 seconds.

    *Which vectors.* Those of ``embedder.transform``, in float32 within 1e-5.
    All workers compute in the dtype of the first; one that has other weights
    under the model's name is refused.

    *Settings.* Those of the embedder are compared with what is there. Of a
    pipeline's other steps that is classes, parameters and the code of
    functions, but not the code of what these call, nor that of classes.

    *When the source changes.* New files are embedded by the next call, and a
    changed one again, with a warning. Of files that are gone the parts are
    left, and named in an error.

    *On several machines* source, target and model have to be on a file system
    that all of them see under the same path.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from skbert import BertEmbedder
    >>> from skbert.distributed import embed_parquet
    >>> folder = Path(tempfile.mkdtemp())
    >>> tweets = pd.DataFrame({"text": ["What a debate!", "Nothing new."], "id": [7, 8]})
    >>> tweets.to_parquet(folder / "tweets.parquet")
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2")
    >>> vectors = folder / "vectors"
    >>> manifest = embed_parquet(
    ...     folder / "tweets.parquet", vectors, embedder, text_column="text", progress=False
    ... )
    >>> manifest["counts"]["rows_finished"], manifest["request"]["width"]
    (2, 384)
    >>> pd.read_parquet(vectors).columns.tolist()
    ['text', 'id', 'embedding']
    """
    import_ray(_NAME)
    last = embedder_of(embedder, _NAME)
    check_params(last)
    resources = {"num_gpus": num_gpus, "num_cpus": num_cpus, "concurrency": concurrency, "batch_size": batch_size}
    named = {
        "text_column": text_column,
        "output_column": output_column,
        "pair_column": pair_column,
        "output_dtype": output_dtype,
    }
    path = instance(str, os.PathLike, text="a str or a path")
    check_arguments(
        _NAME,
        named | resources | {"source": source, "target": target, "rows_per_part": rows_per_part, "progress": progress},
        {"source": (path,), "target": (path,)}
        | COLUMN_RULES
        | RULES
        | {"rows_per_part": (none(), integer(1)), "progress": (boolean(),)},
    )
    columns = Columns(text_column, output_column, pair_column, output_dtype)
    folders = Folders.of(source, target)
    # What a run finds it has to find under the lock: another one may be about to change it.
    with folders.locked() as unfinished:
        manifest = Manifest.read(folders.target)
        files = list_sources(folders.source, columns, manifest.sources())
        rows = _rows(rows_per_part, manifest.rows_per_part or folders.rows_per_part(), rows_a_part(files))
        with running_ray(_NAME, num_cpus=_cpus_asked(concurrency, num_cpus)) as ray:
            workers = plan_workers(ray, last.device, _NAME, has_readers=False, **resources)
            spec, normalize, width = ask_worker(ray, workers, embedder, columns)
            before = [step for _, step in embedder.steps[:-1]] if isinstance(embedder, Pipeline) else []
            request = make_request(spec, normalize, width, columns, before)
            manifest.check_request(request)
            files = with_digests(files, folders.base, partial(digest_on_ray, ray))
            parts = cut(files, rows)
            old = folders.superseded(files, parts, request, manifest)
            manifest.begin(folders.source, request, rows, files, parts)
            run = Run(manifest, folders, parts, old, progress=progress)
            job = (embedder, columns, workers, request, folders, unfinished)
            with run:
                for outcome in embed(ray, workers, job, run.ahead):
                    run.take(outcome)
    run.repeat_warnings()
    return manifest.content


def _rows(given: int | None, begun: int | None, suggested: int) -> int:
    """Return the rows a part: a target that was begun keeps its own."""
    if given is not None and begun is not None and given != begun:
        msg = (
            f"The target was begun with rows_per_part={begun}. Got {given} instead. Leave it out to go on, or choose "
            "another target."
        )
        raise TargetError(msg)
    return int(given or begun or suggested)


def _cpus_asked(concurrency: Any, num_cpus: float | None) -> int | None:
    """Return how many CPUs a Ray of our own has to have where more are asked for than there are."""
    most = concurrency[1] if isinstance(concurrency, tuple) else concurrency or 1
    return max(count_cpus(), math.ceil(most * (num_cpus or 1)))
