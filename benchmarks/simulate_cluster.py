"""How long a plan for many texts takes on a cluster whose workers straggle and fail, and what is lost on the way.

    python benchmarks/simulate_cluster.py --help
    python benchmarks/simulate_cluster.py --workers 64 --worker-mtbf-hours 24
    python benchmarks/simulate_cluster.py --vary rows_per_part 4096 65536 --against worker_mtbf_hours 24 1000
    python benchmarks/simulate_cluster.py --row gop minilm cpu --vary workers 64 256 --show hours overhead lost

A simulation, event by event, in `_cluster.py`; it needs numpy and nothing else, and no cluster. All settings of the
plan are options. The tokens a second are those of ONE worker and make more difference than all the rest: the default is
published by others, so give your own, or let `--row` take the newest row of results/encode.jsonl. Prints a table in
Markdown; numbers are means over the runs, whose seeds are `--seed` and those that follow it.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from _cluster import HOUR, Outcome, Plan, simulate

RESULTS = Path(__file__).parent / "results"
# Of one core, from the row of results/encode.jsonl with 2,000 tweets: "tokenizer alone", 1,267,038 on two threads.
TOKENS_A_CORE = 630_000

# name: what a table calls it, and how it is written
SHOWN = {
    "ideal": ("hours of the embedding alone", ",.2f"),
    "hours": ("hours", ",.2f"),
    "longest": ("hours of the longest run", ",.2f"),
    "overhead": ("beyond the embedding alone", ".1%"),
    "lost": ("texts embedded in vain", ".2%"),
    "tail": ("seconds from the last part's handing out to the end", ",.0f"),
    "idle": ("workers' time idle", ".1%"),
    "storing": ("workers' time at the storage", ".1%"),
    "down": ("workers' time down or starting", ".1%"),
    "failures": ("workers lost", ",.1f"),
    "driver_failures": ("drivers lost", ",.1f"),
    "parts": ("parts, files and tasks", ",.0f"),
    "part_seconds": ("seconds of a part", ",.2f"),
    "file_megabytes": ("MB a file", ",.0f"),
    "terabytes": ("TB of vectors", ",.2f"),
    "bandwidth": ("MB/s of the storage at full speed", ",.0f"),
    "hands": ("parts a second at full speed", ",.2f"),
    "cores": ("cores for the tokenizers alone", ",.1f"),
}


def of_plan(plan: Plan) -> dict[str, float]:
    """Return what follows from a plan without running it. At full speed no worker ever waits or fails."""
    parts_a_second = plan.workers / plan.own_seconds()
    return {
        "ideal": plan.ideal_seconds / HOUR,
        "parts": plan.parts,
        "part_seconds": plan.own_seconds(),
        "file_megabytes": plan.rows(0) * (plan.bytes_per_vector + plan.tokens_per_text * plan.bytes_per_token) / 1e6,
        "terabytes": plan.texts * plan.bytes_per_vector / 1e12,
        "bandwidth": parts_a_second * plan.moved_bytes() / 1e6,
        "hands": parts_a_second,
        "cores": plan.workers * plan.tokens_per_second / TOKENS_A_CORE,
    }


def of_runs(plan: Plan, runs: list[Outcome]) -> dict[str, float]:
    """Return means over the runs of a plan."""
    mean = {one.name: float(np.mean([getattr(run, one.name) for run in runs])) for one in fields(Outcome)}
    worker_seconds = plan.workers * mean["seconds"]
    return {
        "hours": mean["seconds"] / HOUR,
        "longest": max(run.seconds for run in runs) / HOUR,
        "overhead": mean["seconds"] / plan.ideal_seconds - 1,
        "lost": mean["texts_lost"] / plan.texts,
        "tail": mean["tail_seconds"],
        "idle": mean["idle"] / worker_seconds,
        "storing": mean["storing"] / worker_seconds,
        "down": (mean["down"] + mean["starting"]) / worker_seconds,
        "failures": mean["worker_failures"],
        "driver_failures": mean["driver_failures"],
    }


def cells(plan: Plan, shows: list[str], seed: int, runs: int) -> list[str]:
    """Return the numbers of a plan as they are written; it is run only where one of them asks for that."""
    numbers = of_plan(plan)
    if not numbers.keys() >= set(shows):
        numbers |= of_runs(plan, [simulate(plan, seed + more) for more in range(runs)])
    return [format(numbers[show], SHOWN[show][1]) for show in shows]


def table(rows: list[list[str]]) -> str:
    """Return rows, the first of which is the head, as a table in Markdown: numbers to the right."""
    marks = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], marks, *rows[1:]])


def varied(plan: Plan, vary: list[str], against: list[str] | None, shows: list[str], seed: int, runs: int) -> str:
    """Return a table over the values of one setting, and of another where there is one to hold against it."""
    name, *values = vary
    plans = [replace(plan, **{name: _value(name, text)}) for text in values]
    if against is None:
        rows = [[_words(name), *(SHOWN[show][0] for show in shows)]]
        rows += [[_grouped(text), *cells(one, shows, seed, runs)] for text, one in zip(values, plans, strict=True)]
        return table(rows)
    other, *others = against
    rows = [[f"{_words(name)} \\ {_words(other)}", *map(_grouped, others)]]
    for text, one in zip(values, plans, strict=True):
        across = [replace(one, **{other: _value(other, second)}) for second in others]
        rows.append([_grouped(text), *(cells(each, shows[:1], seed, runs)[0] for each in across)])
    return f"{SHOWN[shows[0]][0]}:\n\n{table(rows)}"


def newest_row(corpus: str, model: str, device: str) -> dict[str, Any]:
    """Return the tokens a second and a text of the newest measured row of a case."""
    rows = [json.loads(line) for line in (RESULTS / "encode.jsonl").read_text().splitlines()]
    found = [row for row in rows if (row.get("corpus"), row.get("model"), row.get("device")) == (corpus, model, device)]
    if not found:
        had = sorted({f"{row['corpus']} {row['model']} {row['device']}" for row in rows if "corpus" in row})
        message = f"The '--row' option must name a case of results/encode.jsonl: {', '.join(had)}. "
        message += f"Got {corpus} {model} {device} instead."
        raise SystemExit(message)
    row = max(reversed(found), key=lambda row: row["date"])  # of one day, the last
    print(f"{row['what']}, {row['device']}, {row['date']}; {row['machine']}\n")
    return {"tokens_per_second": float(row["tokens_per_second"]["skbert"]), "tokens_per_text": row["mean_tokens"]}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _grouped(text: str) -> str:
    try:
        return f"{float(text):,.15g}"
    except ValueError:  # of `retry`
        return text


def _value(name: str, text: str) -> Any:
    default = {one.name: one.default for one in fields(Plan)}[name]
    if isinstance(default, str):
        return text
    try:
        number = float(text)
    except ValueError:
        message = f"The {name!r} parameter of Plan must be a number. Got {text!r} instead."
        raise ValueError(message) from None
    return int(number) if isinstance(default, int) and number.is_integer() else number  # so that 1e9 will do


def main(arguments: list[str] | None = None) -> None:
    """Read the options and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    of_plan = parser.add_argument_group("the plan")
    for one in fields(Plan):
        text = one.metadata.get("text", "who does the parts of a lost worker: the same one when it is back, or another")
        default = "no limit, or never" if one.default == math.inf else one.default
        option = f"--{one.name.replace('_', '-')}"
        of_plan.add_argument(option, metavar="X", help=f"{text} (default: {default})")
    parser.add_argument("--row", nargs=3, metavar=("CORPUS", "MODEL", "DEVICE"), help="tokens of a measured row")
    parser.add_argument("--vary", nargs="+", metavar="X", help="a setting's name, and its values")
    parser.add_argument("--against", nargs="+", metavar="X", help="another setting's name, and its values")
    parser.add_argument(
        "--show",
        nargs="+",
        choices=list(SHOWN),
        metavar="WHAT",
        help=f"one with --against, or some of: {', '.join(SHOWN)}",
    )
    parser.add_argument("--runs", type=int, default=5, help="runs with seeds that follow each other (default: 5)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for named in (options.vary, options.against):
        if named and (named[0] not in {one.name for one in fields(Plan)} or len(named) < 2):
            parser.error(f"--vary and --against take a setting's name, such as rows_per_part, and values, not {named}")
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, not {options.runs}")
    given = {one.name: getattr(options, one.name) for one in fields(Plan)}
    try:
        row = newest_row(*options.row) if options.row else {}
        plan = Plan(**row | {name: _value(name, text) for name, text in given.items() if text is not None})
        if options.vary:
            shows = options.show or ["hours"]
            print(varied(plan, options.vary, options.against, shows, options.seed, options.runs))
        else:
            shows = options.show or list(SHOWN)
            numbers = zip(shows, cells(plan, shows, options.seed, options.runs), strict=True)
            print(table([["of the plan", "number"], *([SHOWN[show][0], number] for show, number in numbers)]))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
