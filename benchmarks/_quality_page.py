"""The tables of docs/guide/quality.md, written from the rows of quality.jsonl: no number is typed in by hand."""

from __future__ import annotations

import json

from _common import RESULTS
from _quality_data import CORPORA
from _quality_ideas import DEFAULTS, OPTIONS, ideas, references, test_cases
from plot_results import NOT_YET, ROOT, fill, table

PAGE = ROOT / "docs" / "guide" / "quality.md"
FEW_ROWS = 400
SHOWN_OF_FEW = (
    *("last layer", "all seven", "learned mix of the last four", "mean and cls", "whitened to 256"),
    *("attention, 4 queries, last but one", "no hidden layer", "width 64", "learning rate 3e-4", "plain (own loop)"),
    *("no averaging of weights", "cosine over 10 epochs"),
)
HIGHER_IS_BETTER = (True, True, False)  # accuracy, macro-F1, log loss


def read_cases():
    """Return the row of each part, number of rows and corpus: the newest whole one, and later scores of its cases.

    A row with more than half as many cases is whole. The rows of --quick and of the sample tweets are left out.
    """
    found = {}
    path = RESULTS / "quality.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        row = json.loads(line)
        if row["quick"] or "sample tweets" in row["what"]:
            continue
        key = row["part"], row["rows"], row["corpus"]
        earlier = found.get(key)
        if earlier and earlier["seeds"] == row["seeds"] and len(row["cases"]) < len(earlier["cases"]) / 2:
            earlier["cases"] |= row["cases"]
            earlier["cpu_minutes"] += row["cpu_minutes"]
            continue
        found[key] = row
    return found


def write_page():
    """Fill the tables of the page."""
    rows = read_cases()
    page = PAGE.read_text(encoding="utf-8")
    parts = {"corpora": corpora_table(rows), "origin": origin(rows)}
    for group in dict.fromkeys(idea.group for idea in ideas()):
        parts[group] = group_table(rows, [idea for idea in ideas() if idea.group == group])
    parts["references"] = group_table(rows, references())
    few = [idea for idea in ideas() if idea.group in ("weights", "words") or idea.name in (*OPTIONS, *SHOWN_OF_FEW)]
    parts["few rows"] = group_table(rows, [*references(), *few], FEW_ROWS)
    parts["temperature"] = temperature_table(rows)
    parts["test"] = test_table(rows)
    for name, text in parts.items():
        page = fill(page, name, text)
    PAGE.write_text(page, encoding="utf-8")
    print(f"{len(rows)} rows in {PAGE.relative_to(ROOT)}")


def of_part(rows, part, count="all"):
    """Return the row of each corpus that has one, in the order of the tables."""
    return {key: rows[part, count, key] for key in CORPORA if (part, count, key) in rows}


def origin(rows):
    """Say where and when the rows come from, and how long it took."""
    study = of_part(rows, "validation")
    if not study:
        return NOT_YET
    machines = "; ".join(dict.fromkeys(row["machine"] for row in study.values()))
    days = sorted({row["date"] for row in rows.values()})
    versions = next(iter(study.values()))["versions"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers", "sklearn"))
    minutes = sum(row["cpu_minutes"] for row in study.values())
    return f"{machines}. {' to '.join(dict.fromkeys((days[0], days[-1])))}. {names}. {minutes:.0f} processor minutes."


def corpora_table(rows):
    """Return the table of the corpora, the scores of the defaults and their noise."""
    lines = []
    for key, row in of_part(rows, "validation").items():
        scores = [f"{v:.3f} ± {s:.3f}" for v, s in zip(row["cases"][DEFAULTS], row["spread_of_defaults"], strict=False)]
        counts = [f"{row[name]:,}" for name in ("texts", "copies", "learned_from", "scored_on")]
        lines.append([CORPORA[key], *counts, row["seeds"], *scores])
    heads = ["corpus", "texts", "copies", "learned from", "scored on", "splits"]
    return table([*heads, "accuracy", "macro-F1", "log loss", "ECE"], lines) if lines else NOT_YET


def difference(row, idea):
    """Return the differences of a case to its baseline, in hundredths, those beyond the noise marked."""
    if idea.name not in row["cases"] or idea.baseline not in row["cases"]:
        return "–"
    cells = []
    for k, higher in enumerate(HIGHER_IS_BETTER):
        by = row["cases"][idea.name][k] - row["cases"][idea.baseline][k]
        # The defaults are a mean over several random_states, all other cases have one.
        noise = 2 * row["spread_of_defaults"][k] * (1.2 if idea.baseline == DEFAULTS else 2) ** 0.5
        text = f"{100 * by:+.1f}".replace("-", "−")
        if abs(by) > noise:
            text = f"**{text}**" if (by > 0) == higher else f"*{text}*"
        cells.append(text)
    return " / ".join(cells)


def group_table(rows, some, part_rows="all"):
    """Return the table of some ideas: what each brings on each corpus."""
    found = of_part(rows, "validation", part_rows)
    some = [idea for idea in some if any(idea.name in row["cases"] for row in found.values())]
    if not some:
        return NOT_YET
    lines = [
        [shown(idea.name), time_of(found, idea), *(difference(row, idea) for row in found.values())] for idea in some
    ]
    return table(["idea", "time", *(CORPORA[key] for key in found)], lines)


def shown(name):
    """Return the name of a case, as code where it is code."""
    return f"`{name}`" if name.startswith(("n_", "class_weight")) else name


def time_of(found, idea):
    """Return how many times as long as the defaults a fit takes, on the largest corpus that has the case."""
    row = max((row for row in found.values() if idea.name in row["cases"]), key=lambda row: row["learned_from"])
    return f"× {row['cases'][idea.name][-1] / row['cases'][DEFAULTS][-1]:.1f}"


def temperature_table(rows):
    """Return the table of log loss and calibration error, without and with the temperature."""
    lines = []
    for part_rows in ("all", FEW_ROWS):
        for key, row in of_part(rows, "validation", part_rows).items():
            for name in (DEFAULTS, "n_heads=5", 'class_weight="balanced_sqrt"'):
                if name in row["cases"] and None not in row["cases"][name][:6]:
                    _, _, loss, error, loss_1, error_1, *_ = row["cases"][name]
                    what = CORPORA[key] + (f", {part_rows} rows" if part_rows != "all" else "")
                    lines.append([what, shown(name), *(f"{v:.3f}" for v in (loss_1, loss, error_1, error))])
    heads = ["corpus", "case", "log loss without", "with", "ECE without", "with"]
    return table(heads, lines) if lines else NOT_YET


def test_table(rows):
    """Return the table of the scores on the test parts."""
    found = of_part(rows, "test")
    if not found:
        return NOT_YET
    names = [DEFAULTS, *OPTIONS, *(idea.name for idea in test_cases() if idea.group == "references")]
    lines = []
    for name in names:
        cells = [row["cases"].get(name) for row in found.values()]
        texts = ["–" if cell is None else " / ".join(f"{v:.3f}" for v in cell[:4]) for cell in cells]
        lines.append([shown(name), *texts])
    return table(["", *(CORPORA[key] for key in found)], lines)
