"""The loaded encoders of this process, shared by every clone. Upper part of the engine."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch

from skbert._engine.devices import refuse_bad_fork
from skbert._engine.sources import ModelFiles

if TYPE_CHECKING:
    from skbert._engine.encoder import Encoder
    from skbert._engine.plain import PlainModel
    from skbert._engine.reading import Reader

__all__ = ["get_encoder", "get_plain", "get_reader", "release_models"]

_MODELS_A_DEVICE = 2  # a search over two models must not load one for each candidate

_lock = threading.Lock()
_encoders: OrderedDict[tuple[str, ...], Encoder] = OrderedDict()  # the one used longest ago first
# What inspection needs beside them. Of plain forms the one used last: for interactive use one at a time is enough.
_plain: dict[str, tuple[tuple[str, ...], PlainModel]] = {}  # under the device
_readers: OrderedDict[tuple[str, ...], Reader] = OrderedDict()  # the one used longest ago first


def get_encoder(files: ModelFiles, device: torch.device, dtype: torch.dtype, replica: int = 0) -> Encoder:
    """Return the encoder of these weights on this device, loading it where it is not loaded.

    It is found by content: the same files under another path are the same encoder. `replica` tells apart those of a
    device that the user names more than once.
    """
    refuse_bad_fork(device)
    place = f"{device} {replica}"
    key = (place, files.weights_sha256, files.config_digest, files.tokenizer_digest, str(dtype))
    with _lock:
        if key not in _encoders:
            from skbert._engine.encoder import Encoder  # imports transformers, which takes a second

            _encoders[key] = Encoder(files, device, dtype)
        _encoders.move_to_end(key)
        beside = [other for other in _encoders if other[0] == key[0]]
        for other in beside[:-_MODELS_A_DEVICE]:
            del _encoders[other]
        return _encoders[key]


def get_plain(files: ModelFiles, device: torch.device) -> PlainModel:
    """Return transformers' own form of the model on this device, in float32, loading it where it is not the last."""
    refuse_bad_fork(device)
    key = (files.weights_sha256, files.config_digest)
    with _lock:
        if _plain.get(str(device), ((), None))[0] != key:
            from skbert._engine.plain import PlainModel

            _plain.pop(str(device), None)  # first, so that there are never two
            _plain[str(device)] = key, PlainModel(files, device)
        return _plain[str(device)][1]


def get_reader(files: ModelFiles) -> Reader:
    """Return the reader of the model's tokenizer, loading it where it is not the last one used."""
    key = (files.tokenizer_digest, files.config_digest, str(files.settings.lowercase))
    with _lock:
        if key not in _readers:
            from skbert._engine.reading import Reader

            _readers[key] = Reader(files)
        _readers.move_to_end(key)
        while len(_readers) > _MODELS_A_DEVICE:
            _readers.popitem(last=False)
        return _readers[key]


def release_models() -> None:
    """Free the models that this process holds, and their GPU memory.

    The next call of an estimator loads its model again. Vectors in a store
    stay.

    See Also
    --------
    clear_cache : Forget the vectors instead.

    Notes
    -----
    skbert keeps the two models used last on each device, once for all
    estimators and their clones. A model still at work in another thread is
    freed when it has finished.

    Examples
    --------
    >>> import skbert
    >>> skbert.release_models()
    """
    with _lock:
        _encoders.clear()
        _plain.clear()
        _readers.clear()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
