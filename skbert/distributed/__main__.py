"""``python -m skbert.distributed embed``: embed_parquet as a command. Part of ``distributed``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from skbert._embedder import BertEmbedder
from skbert.distributed._cluster import import_ray
from skbert.distributed._parquet import embed_parquet
from skbert.exceptions import SkbertError

__all__ = ["main"]

_NORMALIZE = {"auto": "auto", "yes": True, "no": False}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status: 0, 1 after an error, 2 for wrong arguments."""
    given = vars(_parser().parse_args(arguments))
    given.pop("command")
    address = given.pop("address")
    # What is not given keeps the default that the classes have.
    model = {name: given.pop(name) for name in list(given) if name in _MODEL}
    if "normalize" in model:
        model["normalize"] = _NORMALIZE[model["normalize"]]
    if len(model.get("layers", ())) == 1:
        model["layers"] = model["layers"][0]
    try:
        if address is not None:
            import_ray("embed").init(address=address)
        manifest = embed_parquet(embedder=BertEmbedder(**model), **given)
    except KeyboardInterrupt:
        print("Stopped. Finished parts stay: the same command goes on.", file=sys.stderr)  # noqa: T201
        return 130
    except (SkbertError, ImportError, OSError) as error:  # a ConnectionError among these
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    run, counts = manifest["runs"][-1], manifest["counts"]
    print(  # noqa: T201
        f"{run['embedded_rows']:,} rows embedded in {run['embedded_parts']} parts by {len(run['workers'])} workers in "
        f"{run['seconds']:.0f} seconds, {run['kept_rows']:,} rows kept. {given['target']} has {counts['rows']:,} rows, "
        f"{counts['bytes']:,} bytes."
    )
    return 0


_MODEL = (
    *("model", "revision", "layers", "pooling", "normalize", "max_length", "long_texts", "prompt", "missing"),
    *("device", "dtype", "batch_tokens", "cache"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m skbert.distributed", description="Texts to vectors, on Ray.")
    commands = parser.add_subparsers(dest="command", required=True)
    embed = commands.add_parser(
        "embed",
        help="embed a folder of Parquet files",
        description="Embed a column of texts of a folder of Parquet files into another folder. The same command goes "
        "on after a crash. Where no Ray runs, one is started on this machine, and stopped.",
        argument_default=argparse.SUPPRESS,
    )
    embed.add_argument("source", help="folder of *.parquet files, or one file")
    embed.add_argument("target", help="folder of the result: new, or made by the same command before")
    add = embed.add_argument
    add("--text-column", required=True, metavar="NAME", help="column of the texts")
    add("--pair-column", metavar="NAME", help="column of the second sentences of pairs")
    add("--output-column", metavar="NAME", help="column of the vectors (default: embedding)")
    add("--output-dtype", choices=("float32", "float16"), help="of the vectors (default: float32)")
    add("--rows-per-part", type=int, metavar="N", help="rows a part at most (default: a 64th, 2,048 to 65,536)")
    add("--no-progress", dest="progress", action="store_false", help="show no bar")

    ray = embed.add_argument_group("workers")
    ray.add_argument("--address", default=None, help="of a running Ray cluster; auto is the one on this machine")
    ray.add_argument("--num-gpus", type=float, metavar="N", help="GPUs a worker (default: 1 where there are any)")
    ray.add_argument("--num-cpus", type=float, metavar="N", help="CPUs, and threads, a worker (default: 1)")
    ray.add_argument("--concurrency", type=int, metavar="N", help="workers (default: as many as there is room for)")
    ray.add_argument("--batch-size", type=int, metavar="N", help="texts a call (default: 2,048; 8,192 on a GPU)")

    model = embed.add_argument_group("embedder", "as the parameters of BertEmbedder, with its defaults")
    model.add_argument("--model", help="name on the hub, folder, or all-MiniLM-L6-v2")
    model.add_argument("--revision")
    model.add_argument("--layers", type=int, nargs="+", metavar="LAYER")
    model.add_argument("--pooling", choices=("auto", "mean", "cls", "max", "pooler"))
    model.add_argument("--normalize", choices=tuple(_NORMALIZE))
    model.add_argument("--max-length", type=int, metavar="TOKENS")
    model.add_argument("--long-texts", choices=("warn", "truncate", "error", "head_tail", "chunk"))
    model.add_argument("--prompt")
    model.add_argument("--missing", choices=("error", "empty"))
    model.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"))
    model.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"))
    model.add_argument("--batch-tokens", type=int, metavar="TOKENS")
    model.add_argument("--cache", metavar="FOLDER", help="store of vectors that the workers of a machine share")
    return parser


if __name__ == "__main__":
    sys.exit(main())
