"""How many workers there are and what each is given: from parameters to the options of ``map_batches``.

Part of ``distributed``. Ray hands devices out; an embedder that names one of its own would take another's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from skbert._params import Rules, anything, check_arguments, integer, none, real
from skbert.exceptions import InvalidParameterError

__all__ = ["RULES", "Workers", "plan_workers"]

_SHOWN = 3  # machines that an error lists
_BATCH = {"cuda": 8_192, "cpu": 2_048}  # texts a call; an engine sorts them by length, so more is faster


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(integer(1).holds(bound) for bound in value)
        and value[0] <= value[1]
    )


RULES: Rules = {
    "num_gpus": (none(), real(0, 1)),
    "num_cpus": (none(), real(0, 1_000_000, closed="right")),
    "concurrency": (none(), integer(1), anything("a tuple (fewest, most) of two int", _is_range)),
    "batch_size": (none(), integer(1)),
}


@dataclasses.dataclass(frozen=True)
class Workers:
    """What the workers of one call are.

    `device` is that of each worker's engine, "cuda", "mps" or "cpu"; `batch_size` counts texts; `least` and `most` are
    bounds of the number of workers.
    """

    device: str
    num_gpus: float
    num_cpus: float | None
    least: int
    most: int
    batch_size: int

    def resources(self) -> dict[str, float]:
        """Return what each worker is given, as options of Ray."""
        # Ray calls both at once experimental.
        given = {"num_gpus": self.num_gpus} if self.num_gpus else {}
        return given | ({"num_cpus": self.num_cpus} if self.num_cpus is not None else {})

    def pool(self, ray: Any, *, in_flight: int | None = None, most: int | None = None) -> Any:
        """Return Ray Data's own pool of these workers, or of at most `most` of them; each has `in_flight` tasks."""
        most = self.most if most is None else max(1, min(self.most, most))
        least = min(self.least, most)
        if least < most and in_flight == 1:
            in_flight = 2  # by a second task that waits Ray Data sees that there is work for more workers
        return ray.data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=in_flight)


def plan_workers(ray: Any, device: Any, function: str, *, has_readers: bool, **given: Any) -> Workers:
    """Return what the workers are to be.

    Parameters
    ----------
    ray : module
        Connected to a cluster.
    device : object
        The parameter of the embedder.
    function : str
        Who asks, for the messages.
    has_readers : bool
        Whether tasks of Ray Data read for the workers; on CPUs they need room.
    **given : object
        `num_gpus`, `num_cpus`, `concurrency` and `batch_size` of that function.
    """
    check_arguments(function, given, RULES)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    num_gpus, device = _on_what(device, given["num_gpus"], any(node.get("GPU") for node in nodes), function)
    num_cpus = given["num_cpus"]
    if num_cpus is None and not num_gpus:
        num_cpus = 1
    least, most = _how_many(given["concurrency"], num_gpus, num_cpus, nodes, function)
    if has_readers and not num_gpus and not isinstance(given["concurrency"], tuple):
        least = 1  # a pool that insists on all CPUs would wait for ever for its readers
    batch_size = given["batch_size"] or _BATCH["cuda" if num_gpus else "cpu"]
    return Workers(device, num_gpus, num_cpus, least, most, batch_size)


def _on_what(device: Any, num_gpus: float | None, has_gpus: bool, function: str) -> tuple[float, str]:
    """Return the GPUs a worker, and the device that its engine is told."""
    if device not in ("auto", "cpu", "cuda", "mps"):
        msg = (
            f"The 'device' parameter of the embedder must be 'auto', 'cpu', 'cuda' or 'mps' in {function}: Ray gives "
            f"each worker its GPUs. Got {device!r} instead. Set device='auto', and num_gpus and concurrency here."
        )
        raise InvalidParameterError(msg)
    if num_gpus is None:
        num_gpus = 1 if device == "cuda" or (device == "auto" and has_gpus) else 0
    if device == "cuda" and not num_gpus:
        msg = (
            f"The 'num_gpus' parameter of {function} must be above 0 for an embedder with device='cuda'. "
            f"Got {num_gpus!r} instead."
        )
        raise InvalidParameterError(msg)
    if device in ("cpu", "mps") and num_gpus:
        msg = (
            f"The 'num_gpus' parameter of {function} must be 0 or None for an embedder with device={device!r}. "
            f"Got {num_gpus!r} instead. Set device='auto'."
        )
        raise InvalidParameterError(msg)
    # A worker without a GPU of its own may see those of others.
    return num_gpus, "cuda" if num_gpus else "mps" if device == "mps" else "cpu"


def _how_many(
    concurrency: Any, num_gpus: float, num_cpus: float | None, nodes: list[dict[str, float]], function: str
) -> tuple[int, int]:
    """Return the fewest and the most workers: as asked, or as many as the cluster has room for now."""
    room = 0
    for node in nodes:
        # A worker has all of its share on one GPU.
        rooms = [int(node.get("GPU", 0)) * int(1 / num_gpus)] if num_gpus else []
        room += int(min([*rooms, node.get("CPU", 0) / num_cpus] if num_cpus else rooms))
    if not room:
        asked = [f"{name}={value:g}" for name, value in (("num_gpus", num_gpus), ("num_cpus", num_cpus)) if value]
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes[:_SHOWN])
        msg = (
            f"No machine of this Ray has room for a worker of {function} with {' and '.join(asked)}, and it would wait "
            f"for ever. They have: {has}. Ask for less, or connect to another cluster."
        )
        raise InvalidParameterError(msg)
    if isinstance(concurrency, tuple):
        return int(concurrency[0]), int(concurrency[1])
    most = room if concurrency is None else int(concurrency)
    return most, most
