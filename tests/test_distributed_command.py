"""``python -m skbert.distributed embed``, and the modules where Ray is not installed."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from skbert import BertEmbedder
from skbert.distributed import __main__ as command, embed_dataset, embed_parquet
from skbert.exceptions import TargetError

MANIFEST = {
    "runs": [{"embedded_rows": 1_200, "embedded_parts": 2, "kept_rows": 30, "seconds": 4.4, "workers": {"a:1": {}}}],
    "counts": {"rows": 1_230, "bytes": 5_000},
}


@pytest.fixture
def calls(monkeypatch):
    """Put a recorder in the place of embed_parquet, and return the list of what it was called with."""
    heard = []

    def record(source, target, embedder, **options):
        heard.append(((source, target), embedder.get_params(), options))
        return MANIFEST

    monkeypatch.setattr(command, "embed_parquet", record)
    return heard


def test_what_is_not_given_keeps_its_default(calls, capsys):
    """The command has no defaults of its own."""
    assert command.main(["embed", "texts", "vectors", "--text-column", "tweet"]) == 0
    ((paths, params, options),) = calls
    assert paths == ("texts", "vectors")
    assert params == BertEmbedder().get_params()
    assert options == {"text_column": "tweet"}
    assert "1,200 rows embedded in 2 parts by 1 workers in 4 seconds, 30 rows kept" in capsys.readouterr().out


def test_each_option_arrives(calls):
    """At the embedder or at embed_parquet, with its type."""
    given = {
        "--pair-column": ("second", "pair_column", "second"),
        "--output-column": ("v", "output_column", "v"),
        "--output-dtype": ("float16", "output_dtype", "float16"),
        "--rows-per-part": ("5", "rows_per_part", 5),
        "--num-gpus": ("0.5", "num_gpus", 0.5),
        "--num-cpus": ("2", "num_cpus", 2.0),
        "--concurrency": ("3", "concurrency", 3),
        "--batch-size": ("7", "batch_size", 7),
    }
    model = {
        "--model": ("here", "model", "here"),
        "--revision": ("v1", "revision", "v1"),
        "--pooling": ("max", "pooling", "max"),
        "--normalize": ("no", "normalize", False),
        "--max-length": ("64", "max_length", 64),
        "--long-texts": ("chunk", "long_texts", "chunk"),
        "--prompt": ("query: ", "prompt", "query: "),
        "--missing": ("empty", "missing", "empty"),
        "--device": ("cpu", "device", "cpu"),
        "--dtype": ("bfloat16", "dtype", "bfloat16"),
        "--batch-tokens": ("512", "batch_tokens", 512),
        "--cache": ("store", "cache", "store"),
    }
    line = [word for name, (text, _, _) in (given | model).items() for word in (name, text)]
    command.main(["embed", "a", "b", "--text-column", "t", "--no-progress", "--layers", "-2", "-1", *line])
    ((_, params, options),) = calls
    assert options == {"text_column": "t", "progress": False} | {name: value for _, name, value in given.values()}
    assert {name: params[name] for _, name, _ in model.values()} == {name: value for _, name, value in model.values()}
    assert params["layers"] == [-2, -1]
    command.main(["embed", "a", "b", "--text-column", "t", "--layers", "-2"])
    assert calls[-1][1]["layers"] == -2


def test_the_command_has_every_parameter():
    """A parameter that is added to embed_parquet, or to the embedder, is an option too, or is left out on purpose."""
    actions = command._parser()._subparsers._group_actions[0].choices["embed"]._actions
    offered = {action.dest for action in actions} - {"help", "address"}
    wanted = {*inspect.signature(embed_parquet).parameters, *inspect.signature(BertEmbedder).parameters}
    assert wanted - offered == {"embedder", "verbose", "store_layers"}
    assert offered <= wanted


def test_an_error_is_one_message_and_a_status(monkeypatch, capsys):
    """No traceback for what a user can mend."""

    def refuse(*arguments, **options):
        msg = "the target holds something else"
        raise TargetError(msg)

    monkeypatch.setattr(command, "embed_parquet", refuse)
    assert command.main(["embed", "a", "b", "--text-column", "t"]) == 1
    assert capsys.readouterr().err == "TargetError: the target holds something else\n"
    with pytest.raises(SystemExit, match="2"):
        command.main(["embed", "a", "b"])
    assert "--text-column" in capsys.readouterr().err


def test_help_is_there_without_a_cluster():
    """As a command of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "skbert.distributed", "embed", "--help"], capture_output=True, text=True, check=True
    )
    assert "--rows-per-part" in done.stdout


WITHOUT = """
import sys
sys.modules["ray"] = None
import skbert, skbert.distributed
from skbert import BertEmbedder
for call in (
    lambda: skbert.distributed.embed_dataset(None, BertEmbedder(), text_column="text"),
    lambda: skbert.distributed.embed_parquet("a", "b", BertEmbedder(), text_column="text"),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_without_ray_the_error_names_the_extra():
    """skbert and skbert.distributed are imported all the same."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    for function, line in zip((embed_dataset, embed_parquet), done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{function.__name__} requires Ray")
        assert line.endswith("Install it with: pip install 'skbert[ray]'")
