"""Draw docs/images/speed.png and write the tables of docs/guide/speed.md, from the rows in benchmarks/results/.

    python benchmarks/plot_results.py [--results FOLDER] [--docs FOLDER]

Of each case (corpus, model, device, dtype) the newest row counts. A number that is in no row gets into neither.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from _search_page import all_rows, search_table, store_table

ROOT = Path(__file__).parents[1]
# As they stand from top to bottom, in the picture and in the tables.
CORPORA = {
    "gop": "GOP tweets",
    "gop-all": "GOP tweets\nwith copies",
    "airline": "airline\ntweets",
    "imdb": "reviews,\n512 tokens",
    "imdb-own": "reviews,\n256 tokens",
    "t128": "made,\n128 tokens",
    "few": "8 texts",
    "one": "one text",
}
MODELS = {"minilm": "all-MiniLM-L6-v2", "base": "BERT base", "large": "BERT large"}
COLOURS = {"minilm": "#0072b2", "base": "#e69f00", "large": "#009e73"}
MARKERS = {"minilm": "o", "base": "s", "large": "^"}
PEER, PADDED, SKBERT = "sentence-transformers", "padded transformers", "skbert"
USUAL = {"cpu": "float32", "cuda": "bfloat16"}
NOT_YET = "Not measured yet."


def read_rows(path, *keys):
    """Return the newest row of each combination of `keys`, as a dict; rows of older forms are left out."""
    if not path.is_file():
        return {}
    rows = map(json.loads, path.read_text().splitlines())
    # Where the real texts were ever measured, no newer row of the sample tweets takes their place.
    rows = sorted((row for row in rows if all(key in row for key in keys)), key=has_real_data)
    return {tuple(row[key] for key in keys): row for row in rows}


def of_device(rows, device):
    """Return the rows of one device, in the order of the tables."""
    found = [row for row in rows.values() if row["device"] == device]
    places = list(MODELS), list(CORPORA)
    return sorted(found, key=lambda row: (places[0].index(row["model"]), places[1].index(row["corpus"])))


def table(heads, rows):
    """Return a table in Markdown, numbers to the right."""
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def shown(value, form="{:.2f}"):
    """Return a number as text, and a dash where there is none."""
    return "–" if value is None else form.format(value)


def encode_table(rows):
    """Return where and when the rows come from, and the table of rates and ratios."""
    if not rows:
        return NOT_YET
    heads = [
        *("texts", "model", "number", "tokens a text", "texts/s", "tokens/s", "× sentence-transformers"),
        *("× padded", "of the matrix product", "of the same with its own shapes", "agreement"),
    ]
    lines = []
    for row in rows:
        agreement = row.get("difference") or row.get("smallest_cosine")
        values = [value for way, value in agreement.items() if way != SKBERT or "smallest_cosine" in row]
        worst = (max if "difference" in row else min)(values, default=None)
        ratios = row["ratios"].get(PEER)
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        lines.append(
            [
                CORPORA[row["corpus"]].replace("\n", " ") + ("" if has_real_data(row) else " (sample tweets)"),
                f"{MODELS[row['model']]}, {row['dtype']}",
                f"{row['texts']:,}",
                row["mean_tokens"],
                f"{row['texts_per_second'][SKBERT]:,.0f}",
                f"{row['tokens_per_second'][SKBERT]:,}",
                shown(row["ratio"].get(PEER)) + spread,
                shown(row["ratio"].get(PADDED)),
                shown(row["utilisation"], "{:.0%}"),
                shown(row["utilisation_own_shapes"], "{:.0%}"),
                shown(worst, "{:.0e}" if "difference" in row else "{:.5f}"),
            ]
        )
    return f"{origin(rows)}\n\n{table(heads, lines)}"


def has_real_data(row):
    """Say whether the texts were those that the corpus is named after."""
    return "sample tweets" not in row["what"]


def origin(rows):
    """Say on what machines and days rows were measured, and under what load."""
    machines = dict.fromkeys(row["machine"] for row in rows)
    days = sorted({row["date"] for row in rows})
    loads = [row["load_before"] for row in rows if row["load_before"] is not None]
    load = f"; load before: {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    versions = rows[-1]["versions"]
    names = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "transformers", "sentence_transformers") if name in versions
    )
    return f"{'; '.join(machines)}. {' to '.join(dict.fromkeys((days[0], days[-1])))}{load}. {names}."


def single_table(rows):
    """Return the table of one text alone."""
    rows = [row for row in rows if "one_text" in row]
    if not rows:
        return NOT_YET
    lines = []
    for row in rows:
        one = row["one_text"]
        lines.append(
            [
                f"{MODELS[row['model']]}, {row['dtype']}",
                "GPU" if row["device"] == "cuda" else "CPU",
                f"{one['bare_forward_ms']:.2f}",
                f"{one['transform_ms']:.2f}",
                f"{one['predict_ms']:.2f}",
                shown(one["predict_to_bare_forward"]),
            ]
        )
    return table(["model", "device", "bare forward, ms", "transform, ms", "predict, ms", "predict / forward"], lines)


def tokenizer_table(rows):
    """Return the table of the tokenizer alone, for the cases of the packaged model."""
    rows = [row for row in rows if row["model"] == "minilm" and row["texts"] > 64]
    if not rows:
        return NOT_YET
    lines = [
        [
            CORPORA[row["corpus"]].replace("\n", " "),
            "GPU" if row["device"] == "cuda" else "CPU",
            f"{row['texts_per_second']['tokenizer alone']:,.0f}",
            f"{row['texts_per_second'][SKBERT]:,.0f}",
            shown(row["share_of_tokenizer"], "{:.0%}"),
        ]
        for row in rows
    ]
    return table(["texts", "device", "tokenizer alone, texts/s", "skbert, texts/s", "share"], lines)


def stages_table(rows):
    """Return the table of one pass by stages."""
    rows = [row for row in rows if row.get("stages")]
    if not rows:
        return NOT_YET
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]["seconds"]))
    lines = [[*case_of(row), *[shown(row["stages"]["seconds"].get(name), "{:.3f}") for name in names]] for row in rows]
    return table(["texts", "model", *names], lines)


def operations_table(rows):
    """Return the table of the shares of operations."""
    rows = [row for row in rows if row.get("stages", {}).get("operations")]
    if not rows:
        return NOT_YET
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]["operations"]))
    lines = [
        [*case_of(row), *[shown(row["stages"]["operations"].get(name), "{:.1%}") for name in names]] for row in rows
    ]
    return table(["texts", "model", *names], lines)


def case_of(row):
    """Name the case of a row, in two cells."""
    where = "GPU" if row["device"] == "cuda" else "CPU"
    texts = f"{CORPORA[row['corpus']]}, {row['texts']:,}".replace("\n", " ")
    return texts, f"{MODELS[row['model']]}, {where}, {row['dtype']}"


def memory_table(rows):
    """Return the table of memory."""
    if not rows:
        return NOT_YET
    lines = [
        [
            f"{row['texts']:,} of {row['words']} words",
            row["model"],
            f"{row['output_mb']:,.0f}",
            f"{row['beyond_output_mb']:,.0f}",
            row["limit_mb"],
        ]
        for row in rows.values()
    ]
    return table(["texts", "model", "output, MB", "peak beyond it, MB", "limit, MB"], lines)


def draw(rows, path):
    """Draw the ratios and the rates of each device that has rows; say whether there is one."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # One dtype for each device, its usual one; the tables have the others.
    rows = {key: row for key, row in rows.items() if row["dtype"] == USUAL[row["device"]]}
    devices = [device for device in USUAL if of_device(rows, device)]
    if not devices:
        return False
    # Narrow and one below the other, so that they can be read on a phone.
    size = (5.5, 8.4 * len(devices))
    figure, axes = plt.subplots(2 * len(devices), 1, figsize=size, layout="constrained")
    for (above, below), device in zip(axes.reshape(-1, 2), devices, strict=True):
        some = of_device(rows, device)
        where = some[-1]["machine"].split(",")[0]
        bars(above, some, lambda row: row["ratio"].get(PEER), "{:.2f}".format)
        above.axvline(1, color="black", linewidth=0.8)
        above.set_title(f"{where}: times as fast as sentence-transformers", fontsize=11, loc="left")
        points(below, some, lambda row: row["tokens_per_second"][SKBERT], short)
        below.set_title(f"{where}: tokens a second", fontsize=11, loc="left")
    names = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    look = {"ncols": len(names), "fontsize": 9, "frameon": False, "handletextpad": 0.4, "columnspacing": 1.2}
    figure.legend(names.values(), names.keys(), loc="outside upper left", **look)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    plt.close(figure)
    return True


def short(value):
    """Return a rate in few letters."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def places_of(rows, value_of):
    """Return each model with its places and values, the corpora, and the width of a bar."""
    corpora = [key for key in CORPORA if any(row["corpus"] == key for row in rows)]
    found = {(row["corpus"], row["model"]): value_of(row) for row in rows}
    # A corpus has a bar for each model that was measured on it, and these stand in its middle.
    measured = {key: [model for model in MODELS if found.get((key, model)) is not None] for key in corpora}
    width = 0.8 / max(map(len, measured.values()))
    by_model = {}
    for n, key in enumerate(corpora):
        for k, model in enumerate(measured[key]):
            place = n + (k - (len(measured[key]) - 1) / 2) * width
            by_model.setdefault(model, []).append((place, found[key, model]))
    drawn = [(model, *zip(*by_model[model], strict=True)) for model in MODELS if model in by_model]
    return drawn, corpora, width


def bars(axis, rows, value_of, label_of):
    """Draw a group of bars for each corpus, one bar for each model."""
    drawn, corpora, width = places_of(rows, value_of)
    for model, places, values in drawn:
        made = axis.barh(places, values, width, color=COLOURS[model], label=MODELS[model])
        axis.bar_label(made, [label_of(value) for value in values], fontsize=9, padding=3)
    axis.set_xlim(right=1.12 * max(max(values) for _, _, values in drawn))
    name_corpora(axis, corpora)


def points(axis, rows, value_of, label_of):
    """Draw a point for each corpus and model on a logarithmic axis, where the length of a bar would say nothing."""
    drawn, corpora, _ = places_of(rows, value_of)
    for model, places, values in drawn:
        axis.scatter(values, places, s=50, color=COLOURS[model], marker=MARKERS[model], label=MODELS[model])
        for value, place in zip(values, places, strict=True):
            axis.annotate(label_of(value), (value, place), (7, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_xscale("log")
    axis.set_xlim(right=2 * max(max(values) for _, _, values in drawn))
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    name_corpora(axis, corpora)


def name_corpora(axis, corpora):
    """Write the corpora at the left, the first one on top."""
    axis.set_yticks(range(len(corpora)), [CORPORA[key] for key in corpora], fontsize=9)
    axis.tick_params(axis="x", labelsize=9)
    axis.set_ylim(len(corpora) - 0.5, -0.5)
    axis.spines[["top", "right"]].set_visible(False)


def fill(page, name, text):
    """Put text between the two comments of this name in a page."""
    pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    assert pattern.search(page), f"the page has no place for {name}"
    return pattern.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page)


def main():
    """Read the rows, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    rows = read_rows(options.results / "encode.jsonl", "device", "model", "dtype", "corpus")
    ordered = of_device(rows, "cpu") + of_device(rows, "cuda")
    picture = NOT_YET
    if draw(rows, options.docs / "images" / "speed.png"):
        picture = "![Ratios to sentence-transformers and tokens a second, by kind of text](../images/speed.png)"
    path = options.docs / "guide" / "speed.md"
    page = path.read_text(encoding="utf-8")
    parts = {
        "picture": picture,
        "cpu": encode_table(of_device(rows, "cpu")),
        "gpu": encode_table(of_device(rows, "cuda")),
        "one text": single_table(ordered),
        "tokenizer": tokenizer_table(ordered),
        "stages": stages_table(ordered),
        "operations": operations_table(ordered),
        "search": search_table(all_rows(options.results / "grid_search.jsonl")),
        "store": store_table(all_rows(options.results / "store.jsonl")),
        "memory": memory_table(read_rows(options.results / "memory.jsonl", "model", "device", "texts")),
    }
    for name, text in parts.items():
        page = fill(page, name, text)
    path.write_text(page, encoding="utf-8")
    print(f"{len(rows)} cases in {path} and its picture")


if __name__ == "__main__":
    main()
