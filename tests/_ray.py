"""A real Ray cluster of several processes on this machine, for the tests marked ``ray``.

It listens on the loopback only, has no dashboard, and is stopped by the tests that started it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from skbert.distributed._cluster import local_ray


@contextlib.contextmanager
def local_cluster(num_cpus: int = 2) -> Iterator[Any]:
    """Start a cluster of its own, whatever else runs on this machine, and stop it in the end."""
    with local_ray(num_cpus=num_cpus, log_to_driver=False, logging_level="error") as ray:
        yield ray
