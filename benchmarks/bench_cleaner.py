"""Texts a second that TextCleaner cleans, on the 13,871 tweets of the first GOP debate.

Run it with the folder of the real data::

    SKBERT_DATA=folder python benchmarks/bench_cleaner.py

The goal is all tweets in under two seconds on two cores. Each way of cleaning
is run several times; beside the best time stands the first, in which the
patterns are compiled. ftfy alone, on every text, stands beside them:
it is what the quick test for broken encoding saves.
"""

import os
import platform
import re
import sys
import time
from pathlib import Path

import ftfy
import pandas as pd
import sklearn

from skbert._cleaner import TextCleaner

REPEATS = 5
GOAL_SECONDS = 2.0
WAYS = {
    "defaults": {},
    "everything kept": {
        "fix_encoding": False,
        "html_entities": "keep",
        "urls": "keep",
        "mentions": "keep",
        "retweet_marks": "keep",
        "hashtags": "keep",
        "emoji": "keep",
        "repeated_chars": None,
        "whitespace": "keep",
    },
    "for a bag of words": {
        "urls": "drop",
        "mentions": "drop",
        "numbers": "drop",
        "case": "lower",
        "punctuation": "drop",
        "stop_words": "english",
    },
}


def best_time(work):
    """Return the first and the best time of `work` in seconds, and the best one of the processor.

    On a machine that others use too, only the last says what the work costs.
    """
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return walls[0], min(walls), min(cpus)


def report(name, first, best, cpu, n_texts):
    """Print one row."""
    print(f"{name:28}{first:9.3f}{best:9.3f}{cpu:9.3f}{n_texts / best:12,.0f}{1e6 * cpu / n_texts:13.1f}")


def main():
    """Time each way, and check that cleaning twice changes nothing more."""
    folder = os.environ.get("SKBERT_DATA")
    if not folder:
        sys.exit("Set SKBERT_DATA to the folder of the real data.")
    tweets = pd.read_csv(Path(folder) / "gop_debate" / "Sentiment.csv")["text"]
    texts = tweets.tolist()
    print(f"{len(texts):,} tweets, {tweets.nunique():,} different; {os.cpu_count()} cores, {platform.machine()}")
    print(f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, ftfy {ftfy.__version__}\n")
    print(f"{'':28}{'first s':>9}{'best s':>9}{'cpu s':>9}{'texts/s':>12}{'cpu µs/text':>13}")

    default_time = None
    for name, params in WAYS.items():
        cleaner = TextCleaner(**params)
        re.purge()  # the first time shall hold the compilation
        times = best_time(lambda cleaner=cleaner: cleaner.transform(texts))
        default_time = default_time or times[1]
        report(name, *times, len(texts))
        once = cleaner.transform(texts)
        if cleaner.transform(once) != once:
            sys.exit(f"Cleaning twice changed something more: {params}.")
    report("defaults, as a Series", *best_time(lambda: TextCleaner().transform(tweets)), len(texts))
    report("for comparison: ftfy alone", *best_time(lambda: [ftfy.fix_text(text) for text in texts]), len(texts))
    verdict = "met" if default_time < GOAL_SECONDS else "missed"
    print(f"\nGoal of {GOAL_SECONDS:g} s for the defaults: {verdict}, in {default_time:.2f} s.")


if __name__ == "__main__":
    main()
