"""Ray itself: found, started on this machine, and stopped. Lower part of ``distributed``, and its only tie to Ray."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import joblib

from skbert._warnings import warn
from skbert.exceptions import SkbertWarning

__all__ = ["count_cpus", "import_ray", "local_ray", "running_ray"]

_HERE = "127.0.0.1"
_starting = threading.Lock()
_OBJECT_STORE = 2**27  # bytes; Ray would take 30 % of the machine's memory, and parts go past its store


def import_ray(function: str) -> Any:
    """Return the module ``ray`` with ``ray.data``; where there is none, say how to get it."""
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
        importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        msg = f"{function} requires Ray ({error}). Install it with: pip install 'skbert[ray]'"
        raise ImportError(msg) from error
    return ray


@contextlib.contextmanager
def running_ray(function: str, *, num_cpus: int | None = None) -> Iterator[Any]:
    """Use the Ray that this process is connected to, or that RAY_ADDRESS names, or start one here and stop it again."""
    ray = import_ray(function)
    if ray.is_initialized():
        yield ray
    elif (os.environ.get("RAY_ADDRESS") or "local") != "local":
        ray.init()
        try:
            yield ray
        finally:
            ray.shutdown()
    else:
        with local_ray(num_cpus=num_cpus) as started:
            yield started


@contextlib.contextmanager
def local_ray(*, num_cpus: int | None = None, **options: Any) -> Iterator[Any]:
    """Start a Ray that only this machine can reach, and stop it in the end.

    Parameters
    ----------
    num_cpus : int or None, default=None
        CPUs that it may give away. None is all that this process may use.
    **options : object
        Of ``ray.init``, before the ones here.
    """
    ray = import_ray("local_ray")
    settings: dict[str, Any] = {
        "address": "local",
        "num_cpus": num_cpus or count_cpus(),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE,
        "logging_level": "warning",
        "_node_ip_address": _HERE,
    }
    try:
        with _on_loopback():
            ray.init(**(settings | options))
        addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
        if addresses != {_HERE}:
            msg = (
                f"Ray was asked to listen on {_HERE} alone and listens on {', '.join(sorted(addresses))}: other "
                "machines can reach it. Set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before Python starts, or a firewall."
            )
            warn(msg, SkbertWarning)
        yield ray
    finally:
        ray.shutdown()


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    return int(joblib.cpu_count())  # knows affinities, and the limits of containers


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Keep Ray from putting the machine's own address in the place of 127.0.0.1 while it starts.

    On Linux it does so, and then listens on all interfaces; on Windows and macOS it does not. What it goes by is a
    constant that an environment variable sets when Ray is imported, which would be too late here, and no affair of a
    library. Where a later Ray has no such constant, the check of the address tells.
    """
    with _starting:  # else another thread that starts one would take what is meant for a moment for what was before
        try:
            constants: Any = importlib.import_module("ray._private.ray_constants")
            before = bool(constants.ENABLE_RAY_CLUSTER)
        except (ImportError, AttributeError):
            yield
            return
        constants.ENABLE_RAY_CLUSTER = False
        try:
            yield
        finally:
            constants.ENABLE_RAY_CLUSTER = before
