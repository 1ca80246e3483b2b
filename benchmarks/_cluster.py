"""A cluster that embeds many texts in parts, as `embed_parquet` does, with stragglers and failures, event by event.

It knows no Ray, no torch and no clock: standard library and numpy, so that anyone can run it. What it takes from Ray is
how parts are handed out and what becomes of them when a worker is lost; docs/guide/billion_texts.md says how that was
seen.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

HOUR = 3600.0
# More lost tries than this to a part, on average, and no plan is worth a simulation: exp(7) is about 1,100.
_MOST_RISK = 7.0


def _setting(default: Any, text: str, least: float = 0.0, most: float = math.inf, above: bool = False) -> Any:
    return field(default=default, metadata={"text": text, "least": least, "most": most, "above": above})


@dataclass(frozen=True)
class Plan:
    """What is to be embedded, and on what. Each setting's meaning and unit stand in its text."""

    texts: int = _setting(1_000_000_000, "texts to embed", 1)
    tokens_per_text: float = _setting(40.0, "tokens of a text on average, special ones included", above=True)
    tokens_per_second: float = _setting(1_420_000.0, "tokens a second of one worker: put in your own row", above=True)
    workers: int = _setting(8, "workers: actors with a GPU, or some cores, each", 1)
    rows_per_part: int = _setting(65_536, "rows of a part; the last one may be shorter", 1)
    bytes_per_vector: float = _setting(3_072.0, "bytes of a vector: 4 x width in float32, 2 x width in float16")
    bytes_per_token: float = _setting(3.0, "bytes of the texts, a token; they are read, and written again")
    encode_bytes_per_second: float = _setting(525e6, "bytes of vectors a worker makes Parquet of a second", above=True)
    part_seconds: float = _setting(0.1, "seconds of a part besides: opening, fsync, checking, renaming")
    hand_seconds: float = _setting(0.006, "seconds the driver takes to hand out one part, one after the other")
    in_flight: int = _setting(1, "parts a worker holds at most, the one under way included", 1)
    storage_bytes_per_second: float = _setting(math.inf, "bytes a second of the storage, shared by all", above=True)
    start_seconds: float = _setting(30.0, "seconds from a free place to a worker with its model loaded")
    spread: float = _setting(0.05, "standard deviation of the logarithm of a try's time (log-normal, mean 1)", most=2)
    slow_share: float = _setting(0.0, "share of workers that are slow throughout", most=1)
    slow_factor: float = _setting(1.0, "how many times as long a slow worker takes", 1)
    worker_mtbf_hours: float = _setting(50_000.0, "mean hours a worker runs between failures", above=True)
    repair_seconds: float = _setting(600.0, "seconds until a lost worker has a place again")
    driver_mtbf_hours: float = _setting(math.inf, "mean hours between failures of the driver or head node", above=True)
    driver_repair_seconds: float = _setting(300.0, "seconds until the driver is started again")
    burst_every_hours: float = _setting(math.inf, "mean hours between bursts that take many workers (spot)", above=True)
    burst_share: float = _setting(0.0, "share of the running workers that a burst takes", most=1)
    burst_seconds: float = _setting(1_800.0, "seconds until their places are there again")
    retry: str = "same"  # see below

    def __post_init__(self) -> None:
        for one in fields(self):
            value, bounds = getattr(self, one.name), one.metadata
            if not bounds:
                continue
            whole = not isinstance(one.default, int) or (isinstance(value, int) and not isinstance(value, bool))
            low = value > bounds["least"] if bounds["above"] else value >= bounds["least"]
            if not (whole and low and value <= bounds["most"]):
                kind = "a whole number" if isinstance(one.default, int) else "a number"
                bound = f"{'above' if bounds['above'] else 'at least'} {bounds['least']:g}"
                bound += f" and at most {bounds['most']:g}" if bounds["most"] < math.inf else ""
                message = f"The {one.name!r} parameter of Plan must be {kind} {bound}. Got {value!r} instead."
                raise ValueError(message)
        if self.retry not in ("same", "another"):
            message = f"The 'retry' parameter of Plan must be 'same' or 'another'. Got {self.retry!r} instead."
            raise ValueError(message)
        risk = self._failures_per_second() * (self.start_seconds + self.slow_factor * self.own_seconds())
        if risk > _MOST_RISK:
            message = (
                f"The 'rows_per_part' parameter of Plan must be so small that a part can be finished between two "
                f"failures. Got {self.rows_per_part!r} instead, with {risk:.1f} failures expected in a part's time."
            )
            raise ValueError(message)

    def _failures_per_second(self) -> float:
        burst = self.burst_share / self.burst_every_hours
        return (1 / self.worker_mtbf_hours + 1 / self.driver_mtbf_hours + burst) / HOUR

    @property
    def parts(self) -> int:
        """The number of parts, which is that of files and of Ray's tasks."""
        return -(-self.texts // self.rows_per_part)

    def rows(self, part: int) -> int:
        """Return the rows of a part: the last one has what is left."""
        return min(self.rows_per_part, self.texts - part * self.rows_per_part)

    def own_seconds(self, part: int = 0) -> float:
        """Return the seconds of a part on a worker that is not slow, without the storage's share."""
        rows = self.rows(part)
        embedding = rows * self.tokens_per_text / self.tokens_per_second
        return embedding + rows * self.bytes_per_vector / self.encode_bytes_per_second + self.part_seconds

    def moved_bytes(self, part: int = 0) -> float:
        """Return the bytes of a part that pass through the storage: texts in, texts and vectors out."""
        return self.rows(part) * (2 * self.tokens_per_text * self.bytes_per_token + self.bytes_per_vector)

    @property
    def ideal_seconds(self) -> float:
        """The seconds of the embedding alone, shared evenly: what nothing can undercut."""
        return self.texts * self.tokens_per_text / (self.tokens_per_second * self.workers)


@dataclass(frozen=True)
class Outcome:
    """What one run took. ``working`` to ``down`` are worker-seconds and add up to workers x seconds."""

    seconds: float
    texts: int  # in finished parts
    texts_lost: float  # embedded, and lost with their worker before their part was finished
    tries: int
    tries_lost: int
    worker_failures: int  # those of bursts included
    driver_failures: int
    bursts: int
    tail_seconds: float  # from the last part's handing out to the end
    working: float  # own seconds of finished parts
    storing: float  # seconds that finished parts spent with the storage
    lost: float  # seconds of tries that came to nothing
    starting: float
    idle: float
    down: float


# What may be told of a run to a `log`: time, what, worker, part (None where there is none).
Log = Callable[[float, str, int, int | None], None]


def simulate(plan: Plan, seed: int = 0, log: Log | None = None) -> Outcome:
    """Run a plan once. The same plan and seed give the same outcome.

    The driver hands parts out in order, to the worker that holds the fewest. ``retry="same"`` is Ray's way: parts that
    a lost worker held wait until that worker is back, or until another one has nothing left to do and gives it its
    place. With ``"another"`` they go back to the driver at once.
    """
    return _Run(plan, seed, log).run()


class _Run:
    """The state of a run, and what each kind of event does to it."""

    def __init__(self, plan: Plan, seed: int, log: Log | None) -> None:
        self.plan, self.log = plan, log
        # Streams of their own: a plan with more failures has the same spread.
        streams = np.random.SeedSequence(seed).spawn(3)
        self.failures, self.spreads, self.choices = (np.random.default_rng(stream) for stream in streams)
        count = plan.workers
        slow = self.choices.permutation(count)[: round(plan.slow_share * count)].tolist()
        self.factor = [1.0] * count
        for worker in slow:
            self.factor[worker] = plan.slow_factor
        self.now, self.order, self.events = 0.0, 0, []
        self.waiting = deque(range(plan.parts))
        self.held: list[deque[int]] = [deque() for _ in range(count)]
        # Whatever was planned for an earlier life of a worker or of the driver is void: their number has changed.
        self.life, self.driver_life, self.storage_life = [0] * count, 0, 0
        self.state, self.since, self.repaired = ["down"] * count, [0.0] * count, [True] * count
        self.began, self.own, self.embedded = [0.0] * count, [0.0] * count, [0.0] * count
        self.wanting: list[deque[tuple[int, int]]] = [deque() for _ in range(plan.in_flight)]
        self.handing = False
        self.stored: list[tuple[float, int, int, int]] = []  # fair share: each under way gets the same bytes a second
        self.storing, self.share, self.share_time = 0, 0.0, 0.0
        self.spent = dict.fromkeys(("working", "storing", "lost", "starting", "idle", "down"), 0.0)
        self.finished = self.tries = self.tries_lost = self.texts = 0
        self.texts_lost = self.drained = 0.0
        self.deaths = self.driver_deaths = self.bursts = 0

    def run(self) -> Outcome:
        self._driver_starts(0)
        if self.plan.burst_every_hours < math.inf and self.plan.burst_share:
            self._at(self.failures.exponential(self.plan.burst_every_hours * HOUR), self._burst)
        while self.finished < self.plan.parts:
            self.now, _, do, *what = heapq.heappop(self.events)
            do(*what)
        for worker in range(self.plan.workers):
            self._change(worker, "down")
        return Outcome(
            self.now, self.texts, self.texts_lost, self.tries, self.tries_lost, self.deaths, self.driver_deaths,
            self.bursts, self.now - self.drained, **self.spent,
        )  # fmt: skip

    def _at(self, delay: float, do: Callable[..., None], *what: int) -> None:
        self.order += 1  # of events at the same time, the one planned first
        heapq.heappush(self.events, (self.now + delay, self.order, do, *what))

    def _tell(self, what: str, worker: int, part: int | None = None) -> None:
        if self.log is not None:
            self.log(self.now, what, worker, part)

    def _change(self, worker: int, state: str) -> None:
        # "busy" is accounted when its part is finished or lost
        if self.state[worker] in self.spent:
            self.spent[self.state[worker]] += self.now - self.since[worker]
        self.state[worker], self.since[worker] = state, self.now

    # The driver

    def _driver_starts(self, life: int) -> None:
        if self.plan.driver_mtbf_hours < math.inf:
            self._at(self.failures.exponential(self.plan.driver_mtbf_hours * HOUR), self._driver_fails)
        self.driver_life = life + 1  # odd while it runs
        for worker in range(self.plan.workers):
            if self.repaired[worker]:
                self._start(worker)

    def _driver_fails(self) -> None:
        self.driver_deaths += 1
        self.driver_life += 1
        self.handing = False
        for worker in range(self.plan.workers):
            if self.state[worker] != "down":
                self._stop(worker)
            self._give_back(worker)
        self._at(self.plan.driver_repair_seconds, self._driver_starts, self.driver_life)

    def _give_back(self, worker: int) -> None:
        self.waiting.extendleft(reversed(self.held[worker]))
        self.held[worker].clear()

    def _want(self, worker: int) -> None:
        holds = len(self.held[worker])
        if holds < self.plan.in_flight:
            self.wanting[holds].append((worker, self.life[worker]))
        self._hand_out()

    def _hand_out(self) -> None:
        if self.waiting and not self.handing and any(self.wanting):
            self.handing = True
            self._at(self.plan.hand_seconds, self._handed, self.driver_life)

    def _handed(self, life: int) -> None:
        if life != self.driver_life:
            return
        self.handing = False
        for holds, asking in enumerate(self.wanting):
            while asking and self.waiting:
                worker, its_life = asking.popleft()
                if its_life != self.life[worker] or len(self.held[worker]) != holds:
                    continue
                self.held[worker].append(self.waiting.popleft())
                if not self.waiting:
                    self.drained = self.now
                if holds == 0:
                    self._begin(worker)
                self._want(worker)
                return

    # A worker

    def _start(self, worker: int) -> None:
        self._change(worker, "starting")
        life = self.life[worker]
        if self.plan.worker_mtbf_hours < math.inf:
            self._at(self.failures.exponential(self.plan.worker_mtbf_hours * HOUR), self._fails, worker, life)
        self._at(self.plan.start_seconds, self._ready, worker, life)

    def _ready(self, worker: int, life: int) -> None:
        if life != self.life[worker]:
            return
        self._tell("ready", worker)
        self._change(worker, "idle")
        if self.held[worker]:
            self._begin(worker)
        self._want(worker)

    def _begin(self, worker: int) -> None:
        plan, part = self.plan, self.held[worker][0]
        spread = self.spreads.lognormal(-(plan.spread**2) / 2, plan.spread) if plan.spread else 1.0
        self.own[worker] = plan.own_seconds(part) * self.factor[worker] * spread
        self.began[worker] = self.now
        self.tries += 1
        self._change(worker, "busy")
        self._tell("begin", worker, part)
        self._at(self.own[worker], self._embedded, worker, self.life[worker])

    def _embedded(self, worker: int, life: int) -> None:
        if life != self.life[worker]:
            return
        self.embedded[worker] = self.now
        self._tell("embedded", worker, self.held[worker][0])
        size = self.plan.moved_bytes(self.held[worker][0])
        if self.plan.storage_bytes_per_second == math.inf or not size:
            self._done(worker)
            return
        self._share_until_now()
        self.storing += 1
        self.state[worker] = "busy, storing"
        self.order += 1
        heapq.heappush(self.stored, (self.share + size, self.order, worker, life))
        self._plan_storage()

    def _done(self, worker: int) -> None:
        part = self.held[worker].popleft()
        self._tell("done", worker, part)
        self.spent["working"] += self.own[worker]
        self.spent["storing"] += self.now - self.embedded[worker]
        self.finished += 1
        self.texts += self.plan.rows(part)
        self._change(worker, "idle")
        if self.held[worker]:
            self._begin(worker)
        elif not self.waiting and self._adopt(worker):
            return
        self._want(worker)

    def _adopt(self, worker: int) -> bool:
        """Let a lost worker that holds parts start again in the place of one that has nothing left to do."""
        for lost in range(self.plan.workers):
            if self.state[lost] == "down" and self.held[lost]:
                self.held[worker], self.held[lost] = self.held[lost], self.held[worker]
                self.life[worker] += 1
                self._start(worker)
                return True
        return False

    # Failures

    def _stop(self, worker: int) -> None:
        """End a life: what was under way is lost, what is held stays held."""
        if self.state[worker].startswith("busy"):
            part, spent = self.held[worker][0], self.now - self.began[worker]
            if self.state[worker] == "busy, storing":
                self._share_until_now()
                self.storing -= 1
            self.tries_lost += 1
            self.spent["lost"] += spent
            self.texts_lost += self.plan.rows(part) * min(1.0, spent / self.own[worker])
            self._tell("lost", worker, part)
        self.life[worker] += 1
        self._change(worker, "down")
        self._plan_storage()

    def _fails(self, worker: int, life: int) -> None:
        if life == self.life[worker]:
            self._lose(worker, self.plan.repair_seconds)

    def _burst(self) -> None:
        self.bursts += 1
        running = [worker for worker in range(self.plan.workers) if self.state[worker] != "down"]
        taken = self.choices.permutation(running)[: round(self.plan.burst_share * len(running))].tolist()
        for worker in taken:
            self._lose(worker, self.plan.burst_seconds)
        self._at(self.failures.exponential(self.plan.burst_every_hours * HOUR), self._burst)

    def _lose(self, worker: int, seconds: float) -> None:
        self.deaths += 1
        self.repaired[worker] = False
        self._stop(worker)
        self._at(seconds, self._repaired, worker)
        if self.plan.retry == "another":
            self._give_back(worker)
            self._hand_out()
        elif not self.waiting and self.held[worker]:
            idle = next((w for w in range(self.plan.workers) if self.state[w] == "idle"), None)
            if idle is not None:
                self._adopt(idle)

    def _repaired(self, worker: int) -> None:
        self.repaired[worker] = True
        if self.driver_life % 2:
            self._start(worker)

    # The storage

    def _share_until_now(self) -> None:
        if self.storing:
            self.share += (self.now - self.share_time) * self.plan.storage_bytes_per_second / self.storing
        self.share_time = self.now

    def _plan_storage(self) -> None:
        self._share_until_now()
        self.storage_life += 1
        while self.stored and self.stored[0][3] != self.life[self.stored[0][2]]:
            heapq.heappop(self.stored)
        if self.stored:
            left = max(0.0, self.stored[0][0] - self.share)
            delay = left * self.storing / self.plan.storage_bytes_per_second
            self._at(delay, self._one_stored, self.storage_life)

    def _one_stored(self, life: int) -> None:
        if life != self.storage_life:
            return
        self._share_until_now()
        due, _, worker, _ = heapq.heappop(self.stored)
        self.share = max(self.share, due)
        self.storing -= 1
        self._plan_storage()
        self._done(worker)
