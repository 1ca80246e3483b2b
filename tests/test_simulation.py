"""The simulated cluster of benchmarks/: nothing is lost, and its times are those of closed forms."""

from __future__ import annotations

import importlib
import math
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "billion_texts.md"


def benchmark(name):
    """Import a module of benchmarks/, whose modules find each other by being in one folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module(name)


Plan, simulate, HOUR = (getattr(benchmark("_cluster"), name) for name in ("Plan", "simulate", "HOUR"))

# A part of 1,000 rows takes 10 seconds; nothing fails, waits or varies unless a test says so.
PLAIN = {
    "texts": 100_000,
    "tokens_per_text": 10.0,
    "tokens_per_second": 1_000.0,
    "workers": 4,
    "rows_per_part": 1_000,
    "encode_bytes_per_second": math.inf,
    "part_seconds": 0.0,
    "hand_seconds": 0.0,
    "start_seconds": 0.0,
    "spread": 0.0,
    "worker_mtbf_hours": math.inf,
}
# Everything at once: dozens of failures, with stragglers, bursts, a driver that fails and a storage that is too slow.
ROUGH = PLAIN | {
    "texts": 300_500,
    "workers": 6,
    "bytes_per_vector": 100.0,
    "hand_seconds": 0.2,
    "start_seconds": 5.0,
    "spread": 0.3,
    "slow_share": 0.34,
    "slow_factor": 3.0,
    "storage_bytes_per_second": 120_000.0,
    "worker_mtbf_hours": 100 / HOUR,
    "repair_seconds": 20.0,
    "driver_mtbf_hours": 100 / HOUR,
    "driver_repair_seconds": 10.0,
    "burst_every_hours": 80 / HOUR,
    "burst_share": 0.5,
    "burst_seconds": 30.0,
}
WAYS = ("same", "another")


def told(plan, seed=0):
    """Run a plan, and return its outcome and all that it told."""
    events = []
    outcome = simulate(plan, seed, lambda *event: events.append(event))
    return outcome, events


def tries_of(events):
    """Return (worker, part, begin, end, how it ended) of every try, and fail where two of one worker overlap."""
    open_tries, tries = {}, []
    for time, what, worker, part in events:
        if what == "begin":
            assert worker not in open_tries
            open_tries[worker] = (part, time)
        elif what in ("done", "lost"):
            begun, since = open_tries.pop(worker)
            assert begun == part
            tries.append((worker, part, since, time, what))
    return tries, open_tries


@pytest.mark.parametrize("in_flight", [1, 2, 5])
@pytest.mark.parametrize("texts", [500, 4_000, 4_001, 99_500, 100_000])
def test_without_failures_and_stragglers_it_is_the_analytic_time(texts, in_flight):
    """Equal parts go in waves of as many as there are workers; the last part may be shorter."""
    plan = Plan(**PLAIN | {"texts": texts, "in_flight": in_flight, "start_seconds": 7.0, "part_seconds": 0.5})
    full, last = plan.parts - 1, texts - 1_000 * (plan.parts - 1)
    waves = max(math.ceil(full / 4) * 10.5, full // 4 * 10.5 + last / 100 + 0.5)
    outcome = simulate(plan)
    assert outcome.seconds == pytest.approx(7.0 + waves, rel=1e-9)
    assert (outcome.tries, outcome.tries_lost, outcome.worker_failures) == (plan.parts, 0, 0)


def test_a_part_takes_what_its_terms_take():
    """Tokens over tokens a second, vectors over what is encoded a second, and the rest; bytes in and out."""
    plan = Plan(**PLAIN | {"bytes_per_vector": 40.0, "encode_bytes_per_second": 8_000.0, "part_seconds": 2.0})
    assert plan.own_seconds() == pytest.approx(1_000 * 10 / 1_000 + 1_000 * 40 / 8_000 + 2)
    assert plan.moved_bytes() == 1_000 * (30 + 30 + 40)
    assert plan.ideal_seconds == 100_000 * 10 / 1_000 / 4


@pytest.mark.parametrize("retry", WAYS)
@pytest.mark.parametrize("seed", range(5))
def test_every_part_is_finished_exactly_once(seed, retry):
    """However many workers and drivers are lost: no part is missing, none is done twice, no text is lost."""
    plan = Plan(**ROUGH, retry=retry)
    outcome, events = told(plan, seed)
    tries, under_way = tries_of(events)
    done = [part for _, part, _, _, how in tries if how == "done"]
    assert sorted(done) == list(range(plan.parts))
    assert outcome.texts == plan.texts == sum(plan.rows(part) for part in done)
    assert not under_way
    assert outcome.tries == len(tries)
    assert outcome.tries_lost == len(tries) - len(done) > 5
    assert outcome.driver_failures > 0
    assert outcome.bursts > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_account_adds_up(seed):
    """Every worker is in one state at a time, so that their seconds together are the run's."""
    outcome = simulate(Plan(**ROUGH), seed)
    states = [getattr(outcome, name) for name in ("working", "storing", "lost", "starting", "idle", "down")]
    assert min(states) > 0
    assert sum(states) == pytest.approx(6 * outcome.seconds, rel=1e-9)


@pytest.mark.parametrize("retry", WAYS)
def test_texts_embedded_and_lost_are_the_work_done(retry):
    """What was finished and what was lost is what all tries, by the clock of each, have embedded."""
    plan = Plan(**PLAIN | {"worker_mtbf_hours": 40 / HOUR, "repair_seconds": 3.0}, retry=retry)
    outcome, events = told(plan)
    tries, _ = tries_of(events)
    work = sum((end - begin) / 10 * 1_000 for _, _, begin, end, _ in tries)
    assert outcome.texts_lost > 1_000
    assert outcome.texts + outcome.texts_lost == pytest.approx(work, rel=1e-9)
    assert outcome.working + outcome.lost == pytest.approx(work / 100, rel=1e-9)


@pytest.mark.parametrize("failing", ["worker", "driver"])
def test_failures_take_what_renewal_theory_says(failing):
    """A part of s seconds that starts anew after each failure takes (1/f + r) exp(f u) (exp(f s) - 1) on average.

    f failures a second, r seconds until there is a place again, u seconds to start, which may fail as well.
    """
    f, r, u, s = 1 / 25, 4.0, 3.0, 10.0
    settings = {f"{failing}_mtbf_hours": 1 / f / HOUR, "repair_seconds": r, "driver_repair_seconds": r}
    plan = Plan(**PLAIN | {"texts": 1_000_000, "workers": 1, "start_seconds": u} | settings)
    first = (1 / f + r) * (math.exp(f * u) - 1)
    expected = first + plan.parts * (1 / f + r) * math.exp(f * u) * (math.exp(f * s) - 1)
    lost = plan.parts * ((math.exp(f * s) - 1) / f - s)
    runs = [simulate(plan, seed) for seed in range(40)]
    for name, value in (("seconds", expected), ("lost", lost)):
        found = np.array([getattr(run, name) for run in runs])
        error = found.std(ddof=1) / math.sqrt(len(found))
        assert abs(found.mean() - value) < 3 * error
        assert error < 0.02 * value  # else the line above says little


@pytest.mark.parametrize("workers", [1, 3, 8, 20])
def test_the_shared_storage_is_a_closed_queueing_network(workers):
    """Throughput is that of mean value analysis, which for fair sharing holds whatever the times' distribution."""
    plan = Plan(
        **PLAIN
        | {"texts": 3_000_000, "workers": workers, "spread": 0.5, "bytes_per_vector": 940.0}
        | {"storage_bytes_per_second": 600_000.0}
    )
    think, service = 10.0, 1_000 * (940 + 60) / 600_000
    at_storage = 0.0
    for n in range(1, workers + 1):
        response = service * (1 + at_storage)
        throughput = n / (think + response)
        at_storage = throughput * response
    found = [plan.parts / simulate(plan, seed).seconds for seed in range(2)]
    assert np.mean(found) == pytest.approx(throughput, rel=0.015)
    assert max(found) <= 1 / service  # never more than the storage gives


@pytest.mark.parametrize("seed", range(3))
def test_the_storage_gives_every_part_its_bytes(seed):
    """Shared evenly at every moment among those that store, whoever comes, goes or is lost meanwhile."""
    plan = Plan(**ROUGH)
    _, events = told(plan, seed)
    got, before, finished = {}, 0.0, 0
    for time, what, worker, part in events:
        for other in got:
            got[other] += (time - before) * plan.storage_bytes_per_second / len(got)
        before = time
        if what == "embedded":
            got[worker] = 0.0
        elif what == "done":
            assert got.pop(worker) == pytest.approx(plan.moved_bytes(part), rel=1e-6)
            finished += 1
        elif what == "lost":
            got.pop(worker, None)
    assert finished == plan.parts


def test_the_driver_hands_out_one_part_after_the_other():
    """Where the driver is what everyone waits for, its seconds a part are the cluster's."""
    plan = Plan(**PLAIN | {"hand_seconds": 5.0})
    assert simulate(plan).seconds == pytest.approx(100 * 5.0 + 10.0)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_a_slow_worker_costs_its_share_and_at_most_the_parts_it_holds(in_flight):
    """Rates add up; what remains is the time for which others wait for the slow one's last parts."""
    factor = 9.0
    plan = Plan(**PLAIN | {"slow_share": 0.25, "slow_factor": factor, "in_flight": in_flight})
    shared = plan.parts * 10 / (3 + 1 / factor)
    seconds = simulate(plan).seconds
    assert shared <= seconds <= shared + in_flight * factor * 10
    assert seconds > shared + 10  # it does straggle


def test_more_failures_never_finish_earlier_on_average():
    """Over thirty seeds each, the mean time rises with the rate of failures."""
    means = []
    for hours in (math.inf, 2_000 / HOUR, 200 / HOUR, 50 / HOUR):
        plan = Plan(**PLAIN | {"worker_mtbf_hours": hours, "repair_seconds": 30.0, "spread": 0.2})
        means.append(np.mean([simulate(plan, seed).seconds for seed in range(30)]))
    assert means == sorted(means)
    assert means[-1] > 1.5 * means[0]


def test_the_same_seed_gives_the_same_run():
    """To the last bit and event; another seed gives another run."""
    assert told(Plan(**ROUGH), 3) == told(Plan(**ROUGH), 3)
    assert told(Plan(**ROUGH), 3) != told(Plan(**ROUGH), 4)


@pytest.mark.parametrize("retry", WAYS)
def test_who_does_the_parts_of_a_lost_worker(retry):
    """As in Ray, the same worker when it is back, or the place of one with nothing left to do; or any other."""
    plan = Plan(**PLAIN | {"worker_mtbf_hours": 60 / HOUR, "repair_seconds": 40.0}, retry=retry)
    elsewhere = Counter()
    for seed in range(5):
        outcome, events = told(plan, seed)
        tries, _ = tries_of(events)
        all_handed_out = outcome.seconds - outcome.tail_seconds
        for worker, part, _, end, how in tries:
            if how == "lost":
                again = min((begin, other) for other, its, begin, _, _ in tries if its == part and begin >= end)
                elsewhere[again[1] != worker, again[0] >= all_handed_out] += 1
    before_the_end = elsewhere[True, False]
    assert (before_the_end == 0) if retry == "same" else (before_the_end > 5)
    assert elsewhere.total() > 20


@pytest.mark.parametrize("retry", WAYS)
def test_nobody_waits_for_a_repair_while_there_is_a_place(retry):
    """The last parts are done where there is nothing left to do, also where a lost worker never comes back."""
    slow = {"slow_share": 0.25, "slow_factor": 9.0}
    plan = Plan(**PLAIN | slow | {"worker_mtbf_hours": 1_500 / HOUR, "repair_seconds": 1e6}, retry=retry)
    runs = [simulate(plan, seed) for seed in range(100)]
    assert sum(run.worker_failures > 0 for run in runs) > 30
    assert max(run.seconds for run in runs) < 10_000  # the slow one alone would take 9,000


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("workers", 0, "a whole number at least 1"),
        ("workers", 2.0, "a whole number at least 1"),
        ("tokens_per_second", 0.0, "a number above 0"),
        ("spread", math.nan, "a number at least 0 and at most 2"),
        ("slow_share", 1.5, "a number at least 0 and at most 1"),
        ("slow_factor", 0.5, "a number at least 1"),
        ("retry", "never", "'same' or 'another'"),
    ],
)
def test_a_wrong_setting_is_named(name, value, wanted):
    """The error names the setting, what it must be and what it was."""
    with pytest.raises(ValueError, match=f"^The '{name}' parameter of Plan must be {wanted}. Got {value!r} instead.$"):
        Plan(**PLAIN | {name: value})


def test_a_plan_that_would_never_end_is_refused():
    """Where a part takes many times as long as a worker lives, no part is ever finished."""
    with pytest.raises(ValueError, match="'rows_per_part' parameter of Plan must be so small"):
        Plan(**PLAIN | {"worker_mtbf_hours": 1 / HOUR})


def of_the_page():
    """Return the page's commands that print a table without a run, each with the text that follows it."""
    found = []
    for block in PAGE.read_text(encoding="utf-8").split("```sh\n")[1:]:
        command, _, after = block.replace("\\\n", " ").partition("\n```")
        if command.startswith("python benchmarks/simulate_cluster.py"):
            found.append((shlex.split(command)[2:], after.partition("```")[0]))
    return found


@pytest.mark.parametrize("number", range(3))
def test_the_tables_of_the_page_are_what_its_commands_print(number, capsys):
    """The first tables of docs/guide/billion_texts.md, whose runs take a second together, are printed anew."""
    arguments, after = of_the_page()[number]
    benchmark("simulate_cluster").main(arguments)
    printed = capsys.readouterr().out
    table = printed[printed.index("|") :].strip()
    assert table.count("\n") > 2
    assert table in after
