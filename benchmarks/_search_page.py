"""Two tables of docs/guide/speed.md: a whole grid search, and stored vectors read back; plot_results.py writes them."""

from __future__ import annotations

import json

NOT_YET = "Not measured yet."


def all_rows(path):
    """Return every row of a file, or none where there is no file."""
    return list(map(json.loads, path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []


def origin(row):
    """Return where and when a row was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items() if name != "python")
    return f"{row['what']}. {row['machine']}. {row['date']}. {versions}."


def spread(values):
    """Return the middle of some ratios, and their range."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"


def search_table(rows):
    """Return a line for each run, the loads of the machine beside it."""
    if not rows:
        return NOT_YET
    heads = [
        "load before",
        "rounds",
        "store in memory",
        "empty folder",
        "the same folder again",
        "by hand: embed, then search the matrix",
        "memory × by hand",
        "folder × by hand",
        "sentence-transformers in the pipeline",
        "the same × memory, processor time",
    ]
    lines = [heads, ["---:"] * len(heads)]
    for row in rows:
        seconds = row["seconds"]
        lines.append(
            [
                f"{row['load_before']:.1f}",
                row["rounds"],
                *(f"{seconds[way]:.2f} s" for way in ("memory", "disk", "disk, again", "matrix")),
                spread(row["memory_to_matrix_rounds"]),
                spread(row["disk_to_matrix_rounds"]),
                f"{seconds['peer']:.0f} s, once" if "peer" in seconds else "–",
                f"{row['ratio_cpu']:.0f}" if "ratio_cpu" in row else "–",
            ]
        )
    return f"{origin(rows[-1])}\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def store_table(rows):
    """Return the newest run."""
    if not rows:
        return NOT_YET
    row = rows[-1]
    lines = [["", "memory", "folder"], ["---", "---:", "---:"]]
    for name, key in (
        ("stored texts read back, a second", "warm_texts_per_second"),
        ("the same, two layers", "warm_texts_per_second_two_layers"),
        ("the same, scaled to length 1", "warm_texts_per_second_length_1"),
    ):
        lines.append([name, *(f"{row[key][where]:,}" for where in ("memory", "disk"))])
    storing = (row[f"storing_microseconds_per_text_{where}"] for where in ("memory", "disk"))
    lines.append(["to store a new text, microseconds", *(f"{value:.1f}" for value in storing)])
    return f"{origin(row)}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
