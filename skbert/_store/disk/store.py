"""DiskStore: what users and the engine see of a folder with vectors. Imports ``_store.base`` and its own room."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from skbert._params import check_params, integer, none
from skbert._store.base import StoreInfo, VectorStore, namespaces_of, summarize
from skbert._store.disk import usage
from skbert._store.disk.blocks import Put
from skbert._store.disk.folder import folder_at
from skbert.exceptions import InvalidParameterError

__all__ = ["DiskStore"]

# What a vector takes beside its bytes: key and checksum in its block, entry and slack of the index, a share of the
# block's last page. Measured with 100,000 values of 1,540 bytes in blocks of 64: 1,808 bytes each; of 1,024: 1,775.
_OVERHEAD = 270


class DiskStore(VectorStore):
    """Keep vectors in a folder, shared by any number of processes and runs.

    It is what ``cache="some/folder"`` stands for. Tomorrow's run, another
    notebook and the workers of ``n_jobs`` find there what one of them has paid
    for, and only one process at a time embeds with a model: the others wait,
    then read. A worker that finds all its texts loads no model at all.

    Parameters
    ----------
    folder : str or path
        A folder on a local disk; it is made, for its owner only, when the
        first vector is looked for. "~" is the home directory.
    max_bytes : int or None, default=None
        Limit in bytes; beyond it the vectors written first are dropped. None
        is no limit. Vectors of BERT base take about 3.4 kB each, those of
        all-MiniLM-L6-v2 1.8 kB. The file may exceed the limit by what one call
        writes at a time (64 MB at most).

    See Also
    --------
    BertEmbedder : Takes a store, or a folder, as its parameter `cache`.
    MemoryStore : Vectors of this process only.
    cache_info : What a store holds.
    clear_cache : Forget all vectors, or those of one model.

    Notes
    -----
    *What is kept.* Under a digest of the text, and of all that makes its
    vector, the vector's float32 numbers with a checksum; they come back to the
    bit. No text can be read from the folder, only the names of models and the
    prompts that were put before texts; but whoever has it can test whether a
    text he knows is in it. Nothing in it is ever executed or unpickled. It is
    an LMDB database [1]_, and belongs to one machine: a network file system is
    refused.

    *Faults.* What `transform` has returned is on the disk, also if the process
    is killed right after. A process that is killed while writing leaves the
    vectors of its finished calls. Damaged vectors are found by their checksums
    and computed again, a damaged database is set aside. A folder that cannot be
    written to, or a full disk, costs time, never results: a `CacheWarning` says
    so once. The one thing that no Python process survives is a database that
    another program cuts short while it is open.

    *Processes.* ``copy.deepcopy``, ``clone`` and pickling keep the folder and
    the limit; the folder does not know the limit, which holds for what is
    written through this store. After a fork the child opens the folder anew;
    it can read, but PyTorch on a CPU may hang in a child whose parent has used
    it, so let workers that embed be started afresh, as joblib does by default.

    References
    ----------
    .. [1] Lightning Memory-Mapped Database, https://www.symas.com/lmdb.

    Examples
    --------
    >>> import tempfile
    >>> from skbert import BertEmbedder, DiskStore, cache_info
    >>> folder = tempfile.mkdtemp()
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2", cache=DiskStore(folder, max_bytes=10**9))
    >>> vectors = embedder.transform(["What a debate!", "Nothing new tonight."])
    >>> cache_info(folder).texts
    2
    """

    __module__ = "skbert"  # the name in pickles, which outlives the files here

    goes_first = "written first"

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        super().__init__()
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            msg = f"The 'folder' parameter of DiskStore must be a path. Got {folder!r} instead."
            raise InvalidParameterError(msg)
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        self.max_bytes = max_bytes
        check_params(self, {"max_bytes": (integer(0), none())})
        self.max_bytes = None if max_bytes is None else int(max_bytes)
        if os.path.isfile(self.folder):
            msg = f"The 'folder' parameter of DiskStore must be a folder. Got {str(self.folder)!r} instead, a file."
            raise InvalidParameterError(msg)
        self._begin()

    def _begin(self) -> None:
        """Owe nothing: at first, and in a forked child, whose parent waits for what it has put itself."""
        self._lock = threading.Lock()
        self._writing: list[Future[int]] = []
        self._process = os.getpid()

    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray]:
        return folder_at(self.folder).get_many(namespace, keys, size)

    def put_many(self, namespace: bytes, keys: Sequence[bytes], values: np.ndarray, *, overwrite: bool = True) -> None:
        if len(keys):
            future = folder_at(self.folder).put_many(Put(namespace, keys, values, overwrite), self.max_bytes)
            if self._process != os.getpid():
                self._begin()
            with self._lock:
                self._writing.append(future)

    def flush(self) -> int:
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            waited = list(self._writing)
        wait(waited)
        with self._lock:  # of threads that wait for the same, one counts it
            mine = [future for future in waited if future in self._writing]
            self._writing = [future for future in self._writing if future not in mine]
        return sum(future.result() for future in mine)

    def describe(self, namespace: bytes, facts: Mapping[str, Any]) -> None:
        folder_at(self.folder).facts[namespace] = facts

    def cost(self, size: int) -> int:
        return size + _OVERHEAD

    def larger(self, max_bytes: int) -> str:
        return f"cache=DiskStore({str(self.folder)!r}, max_bytes={max_bytes})"

    def tally(self, hits: int, misses: int) -> None:
        folder_at(self.folder).count(hits, misses, 0)

    def clear(self, model: str | None = None) -> int:
        folder = folder_at(self.folder)
        if model is None:
            return folder.clear()
        return folder.forget(model) if folder.is_store else len(namespaces_of(model, {}))  # which is an error

    def info(self) -> StoreInfo:
        if not folder_at(self.folder).is_store:
            return StoreInfo((), (), 0, 0, 0, self.max_bytes, 0, 0, 0)
        facts, keys, used = folder_at(self.folder).held()
        return StoreInfo(
            *summarize((facts.get(namespace, {}), held) for namespace, held in keys.items()),
            sum(map(len, keys.values())),
            used,
            self.max_bytes,
            *usage.read(self.folder),
        )

    def troubles(self) -> list[str]:
        return folder_at(self.folder).troubles()

    @contextlib.contextmanager
    def turn(self, name: bytes) -> Iterator[None]:
        with folder_at(self.folder).turn(name):
            yield

    def __repr__(self) -> str:
        limit = "" if self.max_bytes is None else f", max_bytes={self.max_bytes}"
        return f"DiskStore({str(self.folder)!r}{limit})"

    def __copy__(self) -> DiskStore:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> DiskStore:
        return self

    def __reduce__(self) -> tuple[type[DiskStore], tuple[str, int | None]]:
        return DiskStore, (str(self.folder), self.max_bytes)
