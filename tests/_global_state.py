"""A snapshot of everything global that skbert must leave alone (law 7)."""

from __future__ import annotations

import locale
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_info


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return name, keys.tobytes(), *rest


def _torch_cuda_random() -> list[bytes]:
    # Asking would initialise CUDA.
    return [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else []


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # pytest's own


def _logging() -> dict[str, Any]:
    root = logging.getLogger()
    found = {"": (root.level, [id(handler) for handler in root.handlers], [id(f) for f in root.filters])}
    for name in ("transformers", "huggingface_hub", "sentence_transformers", "torch", "py.warnings"):
        if name in root.manager.loggerDict:
            logger = logging.getLogger(name)
            found[name] = (logger.level, [id(handler) for handler in logger.handlers], logger.disabled)
    return {**found, "disable": root.manager.disable}


def _flag(path: str) -> Callable[[], Any]:
    """Return a reader of the torch attribute at `path`; an attribute that this torch lacks, or cannot read, is told."""

    def read() -> Any:
        value: Any = torch
        try:
            for name in path.split("."):
                value = getattr(value, name)
            return value() if callable(value) else value
        except (AttributeError, RuntimeError) as error:
            return f"unreadable: {type(error).__name__}"

    return read


_TORCH_FLAGS = (
    "get_num_threads",
    "get_num_interop_threads",
    "get_default_dtype",
    "get_default_device",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_anomaly_enabled",
    "get_float32_matmul_precision",
    "are_deterministic_algorithms_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "get_deterministic_debug_mode",
    "is_autocast_enabled",
    "backends.fp32_precision",
    "backends.cuda.matmul.allow_tf32",
    "backends.cuda.matmul.fp32_precision",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.cuda.flash_sdp_enabled",
    "backends.cuda.mem_efficient_sdp_enabled",
    "backends.cuda.math_sdp_enabled",
    "backends.cuda.cudnn_sdp_enabled",
    "backends.cudnn.enabled",
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.cudnn.allow_tf32",
    "backends.cudnn.fp32_precision",
    "backends.cudnn.conv.fp32_precision",
    "backends.mkldnn.enabled",
    "backends.mkldnn.fp32_precision",
    "backends.mkldnn.matmul.fp32_precision",
)

READERS: dict[str, Callable[[], Any]] = {
    "torch.get_rng_state": lambda: torch.get_rng_state().numpy().tobytes(),
    "torch.cuda.get_rng_state_all": _torch_cuda_random,
    "np.random.get_state": _numpy_random,
    "np.geterr": np.geterr,
    "random.getstate": random.getstate,
    "os.environ": _environment,
    "os.getcwd": os.getcwd,
    "warnings.filters": lambda: list(warnings.filters),
    "warnings.showwarning": lambda: id(warnings.showwarning),
    "logging": _logging,
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "sys.path": lambda: list(sys.path),
    "sys.excepthook": lambda: id(sys.excepthook),
    "sys.getrecursionlimit": sys.getrecursionlimit,
    "sklearn.get_config": sklearn.get_config,
    "threads of the BLAS and OpenMP pools": lambda: {
        info["filepath"]: info["num_threads"] for info in threadpool_info()
    },
    **{f"torch.{path}": _flag(path) for path in _TORCH_FLAGS},
}


def _kept(name: str, before: Any, after: Any) -> bool:
    if name.startswith(("threads of", "logging")):  # a library loaded since brings a pool, or a logger, of its own
        return all(after.get(key) == value for key, value in before.items())
    return before == after


class GlobalState:
    """Everything global, as it is now."""

    def __init__(self) -> None:
        self.before = {name: read() for name, read in READERS.items()}

    def changed(self) -> dict[str, str]:
        """Return what differs by now: its name, and how."""
        after = {name: read() for name, read in READERS.items()}
        return {
            name: _difference(name, value, after[name])
            for name, value in self.before.items()
            if not _kept(name, value, after[name])
        }

    def assert_unchanged(self, *, ignore: tuple[str, ...] = ()) -> None:
        """Fail with what differs; `ignore` holds names that may."""
        changed = {name: how for name, how in self.changed().items() if name not in ignore}
        told = "\n".join(f"  {name}: {how}" for name, how in changed.items())
        assert not changed, f"Global state has changed:\n{told}"


def _difference(name: str, before: Any, after: Any) -> str:
    if isinstance(before, dict):
        keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if name == "os.environ":  # names only: a log is no place for an environment's values
            return f"{keys}"
        before, after = ({key: side.get(key) for key in keys} for side in (before, after))
    if isinstance(before, bytes) or name.endswith("state"):
        return "another state"
    return f"{before!r} -> {after!r}"
