"""Which device and which dtype: the policy behind ``device``, ``dtype`` and ``batch_tokens``. Imports no model code."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from skbert.exceptions import DeviceError, InvalidParameterError

__all__ = [
    "auto_batch_tokens",
    "exact_float32",
    "half_bound",
    "is_device_name",
    "is_out_of_memory",
    "refuse_bad_fork",
    "resolve_devices",
    "resolve_dtype",
]

# Tokens a forward. On a CPU a batch's states should stay in the cache, and its texts be enough for runs of equal
# length; chosen by measurement (benchmarks/README.md): 2,048 and 4,096 are alike, 1,024 and 8,192 slower.
_BATCH_TOKENS = {"cpu": 2_048, "mps": 8_192}
# Numbers in the hidden states of a batch on a GPU, whose kernels should be long against the time of their launch:
# 65,536 tokens for the 384 of all-MiniLM-L6-v2, 32,768 for BERT base and large. Not measured yet.
_GPU_STATES = 2**25


def is_device_name(value: object) -> bool:
    """Say whether `value` is "auto" or names a device of a kind that the engine knows."""
    if not isinstance(value, str):
        return False
    kind, _, index = value.partition(":")
    return value in ("auto", "cpu", "mps", "cuda") or (kind == "cuda" and index.isdecimal())


def resolve_devices(device: str | Sequence[str], estimator: str) -> tuple[torch.device, ...]:
    """Return the devices that the parameter stands for, each of which is there.

    Parameters
    ----------
    device : str or sequence of str
        "auto" is CUDA where torch sees it, else MPS, else the CPU.
    estimator : str
        Who asks, for the message.

    Raises
    ------
    InvalidParameterError
        A device is not there.
    """
    names = [device] if isinstance(device, str) else list(device)
    return tuple(_resolve_one(name, estimator) for name in names)


def _resolve_one(name: str, estimator: str) -> torch.device:
    # In a fork of a process that used CUDA torch may no longer see a device, and yet all texts may be found in a store:
    # whether it can be had is asked when it is needed.
    forked = torch.cuda._is_in_bad_fork()
    if name == "auto":
        name = "cuda" if forked or torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    found = torch.device(name)
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = 0 if found.index is None else found.index
        if index >= count and not forked:
            msg = (
                f"The 'device' parameter of {estimator} must be a device that is there, and torch sees {count} CUDA "
                f"device(s). Got {name!r} instead. Use device='auto' or device='cpu'."
            )
            raise InvalidParameterError(msg)
        return torch.device("cuda", index)
    if found.type == "mps" and not torch.backends.mps.is_available():
        msg = (
            f"The 'device' parameter of {estimator} must be a device that is there, and torch sees no MPS device. "
            "Got 'mps' instead. Use device='auto'."
        )
        raise InvalidParameterError(msg)
    return found


def resolve_dtype(dtype: str, devices: Sequence[torch.device]) -> torch.dtype:
    """Return the compute dtype: one for all devices, since it is part of a vector's identity.

    "auto" is bfloat16 where every device is a GPU that has it, float16 where
    one is an older GPU, and float32 as soon as a CPU or MPS takes part.
    """
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
    if any(device.type != "cuda" for device in devices):
        return torch.float32
    # Compute capability 8.0 is the first with bfloat16 units; torch's own question also counts emulation.
    modern = all(_compute_capability(device.index or 0) >= (8, 0) for device in devices)
    return torch.bfloat16 if modern else torch.float16


_MAJOR, _MINOR = 75, 76  # of a device's compute capability, in the driver's numbering of attributes


@functools.cache  # a forked process, which cannot ask, inherits the answer
def _compute_capability(index: int) -> tuple[int, int]:
    """Return the compute capability of a GPU without taking any of its memory.

    torch would set CUDA up for the asking, with a context of hundreds of MB, in
    a worker that finds all its texts in the store and never needs the GPU. So
    the driver is asked itself, where there is one of NVIDIA's.
    """
    if not torch.cuda.is_initialized():
        with contextlib.suppress(OSError, AttributeError):
            driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
            device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
            failed = (
                driver.cuInit(0)
                or driver.cuDeviceGet(ctypes.byref(device), index)
                or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
                or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
            )
            if not failed:
                return major.value, minor.value
    refuse_bad_fork(torch.device("cuda", index))
    return torch.cuda.get_device_capability(index)


def auto_batch_tokens(device: torch.device, width: int) -> int:
    """Return the tokens a forward that ``batch_tokens="auto"`` means.

    Parameters
    ----------
    device : torch.device
    width : int
        Of the model's hidden states.

    Returns
    -------
    int
        On a GPU 65,536, or 2**25 numbers of hidden states if that is less (32,768
        tokens of BERT base), and no more than a sixteenth of its memory holds.
    """
    if device.type != "cuda":
        return _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cpu"])
    # Of all its memory, not of what is free just now: one and the same call is to be cut in the same way each time.
    memory = torch.cuda.get_device_properties(device).total_memory
    # At its widest a layer holds the states, their sum, and the inner states of 4 widths before and after activation;
    # in float32 to be safe. A power of two below that.
    fitting = memory // 16 // (12 * 4 * width)
    return 1 << (max(1_024, min(fitting, _GPU_STATES // width, 65_536)).bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a forward failed for want of memory, which a smaller batch may mend."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # Those of the CPU, of MPS, and of CUDA's libraries have no class of their own.
    signs = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def refuse_bad_fork(device: torch.device) -> None:
    """Raise where this process is a fork of one that used CUDA, whose context cannot be had a second time.

    Raises
    ------
    DeviceError
        Says so before torch does, and what to do.
    """
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        msg = (
            f"device={str(device)!r} cannot be used in this process (pid {os.getpid()}): it was forked from one that "
            "had used CUDA, and a forked process cannot use CUDA again. Start workers afresh instead: joblib does by "
            "default (backend 'loky'), multiprocessing with get_context('spawn'). Or embed before forking with "
            "cache='some/folder', so that the workers find the vectors there."
        )
        raise DeviceError(msg)


def half_bound(dtype: torch.dtype) -> float:
    """Return how far the packed form may lie from the padded one, relative to max(1, largest absolute value).

    Law 1 gives float32 its 1e-5. The halves differ by their rounding (2**-8 and
    2**-11 a step), summed over the layers.
    """
    return {torch.float32: 1e-5, torch.bfloat16: 6e-2, torch.float16: 1e-2}[dtype]


_precision_lock = threading.Lock()
_precision: dict[str, tuple[int, str]] = {}  # how many compute on this kind of device now, and the switch before them


@contextlib.contextmanager
def exact_float32(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run float32 without TF32 and bfloat16, also where the user has allowed them, and leave his switch as it was.

    ``torch.set_float32_matmul_precision`` allows them on GPUs, and on CPUs that have such units. Threads that compute
    at once share one switch: the first sets it, the last puts it back.
    """
    backend = {"cuda": torch.backends.cuda, "cpu": torch.backends.mkldnn}.get(device.type)
    if backend is None or dtype != torch.float32:
        yield
        return
    with _precision_lock:
        users, before = _precision.get(device.type, (0, ""))
        if users == 0:
            before = _own_precision(backend)
            if not _is_exact(backend):
                backend.matmul.fp32_precision = "ieee"
        _precision[device.type] = users + 1, before
    try:
        yield
    finally:
        with _precision_lock:
            users, before = _precision[device.type]
            _precision[device.type] = users - 1, before
            if users == 1 and backend.matmul.fp32_precision != before:
                backend.matmul.fp32_precision = before


def _own_precision(backend: Any) -> str:
    """Return what the switch of matrix products says of its own: "none" where it shows what a more general one says."""
    setting = str(backend.matmul.fp32_precision)
    general = [getattr(level, "fp32_precision", "none") for level in (backend, torch.backends)]
    return "none" if setting in general else setting


def _is_exact(backend: Any) -> bool:
    for level in (backend.matmul, backend, torch.backends):
        setting = getattr(level, "fp32_precision", "none")
        if setting != "none":  # "none" says nothing of its own: the more general switch holds
            return bool(setting == "ieee")
    return True
