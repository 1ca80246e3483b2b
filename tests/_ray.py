"""A real Ray cluster of several processes on this machine, for the tests marked ``ray``.

It listens on the loopback only, has no dashboard, and is stopped by the tests that started it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def local_cluster(num_cpus: int = 2) -> Iterator[Any]:
    """Start a cluster of its own, whatever else runs on this machine, and stop it in the end."""
    import ray

    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    try:
        yield ray
    finally:
        ray.shutdown()
