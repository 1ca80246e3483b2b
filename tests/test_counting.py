"""Law 4: each different text goes through the encoder once, whoever asks: folds, candidates, threads, processes, runs.

Forwards are counted where they happen (``Encoder.n_texts``, in worker processes through a log), never only by what the
store says of itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from skbert import BertEmbedder, MemoryStore, TextCleaner, cache_info, clear_cache, release_models
from tests._counting import (
    CANDIDATES,
    FOLDS,
    CountingEmbedder,
    labels,
    logged,
    made_up,
    meet,
    n_forwards,
    n_logged,
    pipeline,
    race,
    search,
)
from tests._reference import padded_vectors, relative_difference

ROOT = Path(__file__).parents[1]
KINDS = ("memory", "disk")


@pytest.fixture
def folder(tiny_bert_folder):
    """Return the tiny BERT, with no model loaded, so that the encoders' counts begin at 0."""
    release_models()
    return tiny_bert_folder


@pytest.fixture
def cache(request, tmp_path):
    """Return an empty store of the kind that the test's parameter names: a MemoryStore, or a path."""
    return MemoryStore() if request.param == "memory" else tmp_path / "vectors"


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Return joblib with four worker processes that have imported everything, so that they begin together."""
    pool = joblib.Parallel(n_jobs=4, batch_size=1)
    place = tmp_path_factory.mktemp("workers") / "meeting"
    pool(joblib.delayed(meet)(place, k, 4) for k in range(4))
    yield pool
    get_reusable_executor().shutdown(kill_workers=True)  # those of the next test shall know nothing of this one


def expert_scores(folder, texts):
    """Return the scores of the same search over a matrix made beforehand, in plain transformers."""
    grid = {"alpha": np.logspace(-3, 3, CANDIDATES)}
    found = GridSearchCV(RidgeClassifier(), grid, cv=FOLDS).fit(padded_vectors(folder, texts), labels(texts))
    return found.cv_results_["mean_test_score"]


# -- one process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_ten_candidates_by_five_folds_send_a_thousand_texts_through_once(folder, cache):
    """Law 4 as the design states it: 1,000 forwards, not 51,000; and the scores are the expert's."""
    texts = made_up(1_000)
    found = search(BertEmbedder(folder, device="cpu", cache=cache), texts)
    assert n_forwards() == 1_000
    asked = (CANDIDATES * FOLDS + 1) * 1_000  # a candidate asks for training and test part, the refit for all
    info = cache_info(cache)
    assert (info.misses, info.hits, info.texts, info.evictions) == (1_000, asked - 1_000, 1_000, 0)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expert_scores(folder, texts), atol=0.005)


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_copies_do_not_count(folder, cache):
    """Of rows that are each there seven times, within a fold and across folds, one goes through."""
    texts = made_up(60) * 7
    search(BertEmbedder(folder, device="cpu", cache=cache), texts)
    assert n_forwards() == 60


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_pairs_are_counted_as_pairs(folder, cache):
    """A pair is one text; its sides alone, and swapped, are others."""
    left, right = made_up(40), made_up(40, seed=1)
    pairs = list(zip(left, right, strict=True))
    embedder = BertEmbedder(folder, device="cpu", cache=cache)
    embedder.transform([*pairs, *pairs])
    assert n_forwards() == 40
    embedder.transform(left)
    assert n_forwards() == 80
    embedder.transform([(b, a) for a, b in pairs])
    assert n_forwards() == 120
    embedder.transform(pairs[::-1])
    assert n_forwards() == 120


@pytest.mark.parametrize("cache", KINDS, indirect=True)
@pytest.mark.parametrize(
    ("layers", "passes"),
    [
        # Each (layer, pooling) is a vector of its own. The two single layers pay for the pair of them: (2 + 0) x 2.
        ([-1, -2, (-2, -1)], 4),
        # The pair lacks layer -2 and pays for it, so that -2 alone is free: (1 + 1 + 0) x 2.
        ([-1, (-2, -1), -2], 4),
        # The pair pays for both at once: (1 + 0 + 0) x 2.
        ([(-2, -1), -1, -2], 2),
        # Another way to write the same layers, in another order, is no other layer: (1 + 0 + 0) x 2.
        ([(1, 2), -1, (-1, 1)], 2),
    ],
    ids=str,
)
def test_a_grid_over_layers_and_poolings_embeds_what_no_earlier_candidate_left(folder, cache, layers, passes):
    """Law 4 is for the same layers and pooling: texts go through once for each that was not there yet."""
    texts = made_up(50)
    grid = {"embed__layers": layers, "embed__pooling": ["mean", "cls"]}  # the layers vary slowest
    pipe = pipeline(BertEmbedder(folder, device="cpu", cache=cache))
    GridSearchCV(pipe, grid, cv=FOLDS).fit(texts, labels(texts))
    assert n_forwards() == cache_info(cache).misses == passes * len(texts)
    info = cache_info(cache)
    assert (info.layers, info.texts, info.vectors) == ((1, 2), len(texts), 4 * len(texts))


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_with_store_layers_all_the_first_candidate_pays_for_every_other(folder, cache):
    """After store_layers="all" there is no layer, pooling or scale left to embed."""
    texts = made_up(50)
    pipe = pipeline(BertEmbedder(folder, device="cpu", cache=cache, store_layers="all"))
    grid = {"embed__layers": [-1, -2, (-2, -1), 0, (0, 1, 2)], "embed__pooling": ["mean", "cls", "max"]}
    GridSearchCV(pipe, grid, cv=FOLDS).fit(texts, labels(texts))
    assert n_forwards() == len(texts)
    info = cache_info(cache)
    assert (info.layers, info.misses, info.vectors) == ((0, 1, 2), len(texts), 3 * 3 * len(texts))


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_after_a_search_validation_fit_and_predict_are_free(folder, cache):
    """What a search has seen, cross_val_score, fit and predict find, in any order of rows; new texts are new."""
    texts = made_up(100)
    search(BertEmbedder(folder, device="cpu", cache=cache), texts)
    before = n_forwards()
    pipe = pipeline(BertEmbedder(folder, device="cpu", cache=cache))
    cross_val_score(pipe, texts, labels(texts), cv=7)
    pipe.fit(texts[::-1], labels(texts)[::-1]).predict(texts[10:20])
    assert n_forwards() == before
    pipe.predict([*texts[:10], *made_up(3, seed=1), *made_up(3, seed=1)])
    assert n_forwards() - before == 3


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_behind_a_cleaner_cleaned_texts_count(folder, cache):
    """Tweets that differ only in what TextCleaner drops are one text."""
    bare = made_up(40)
    tweets = [*bare, *(f"RT @user: {text} https://t.co/{k}" for k, text in enumerate(bare)), *map(str.upper, bare)]
    cleaner = TextCleaner(case="lower")
    different = len(set(cleaner.transform(tweets)))
    assert different < len(set(tweets)) == 120
    pipe = Pipeline([("clean", cleaner), *pipeline(BertEmbedder(folder, device="cpu", cache=cache)).steps])
    GridSearchCV(pipe, {"classify__alpha": [0.1, 1, 10]}, cv=FOLDS).fit(tweets, labels(bare * 3))
    assert n_forwards() == different


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_a_cleared_store_pays_again(folder, cache):
    """clear_cache forgets vectors and counts; so the counts above come from the store and nothing else."""
    texts = made_up(30)
    embedder = BertEmbedder(folder, device="cpu", cache=cache)
    embedder.transform(texts)
    clear_cache(cache)
    info = cache_info(cache)
    assert (info.texts, info.vectors, info.hits, info.misses) == (0, 0, 0, 0)
    embedder.transform(texts)
    assert n_forwards() == 60


# -- what is said --------------------------------------------------------------------------------------------------

SAID = re.compile(r"\[BertEmbedder\].*asked\D*(\d+)\D.*different\D*(\d+)\D.*found\D*(\d+)\D.*embedded\D*(\d+)")


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_verbose_says_what_was_asked_different_found_and_embedded(folder, cache, capsys):
    """One line a call on stdout, and its numbers are the encoder's."""
    texts = made_up(10)
    quiet = BertEmbedder(folder, device="cpu", cache=cache)
    quiet.transform(texts[:4])
    assert capsys.readouterr().out == ""
    loud = BertEmbedder(folder, device="cpu", cache=cache, verbose=1)
    for rows, numbers in [([*texts, *texts[:2]], (12, 10, 4, 6)), (texts, (10, 10, 10, 0))]:
        before = n_forwards()
        loud.transform(rows)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1
        said = SAID.search(lines[0] + " ")
        assert said is not None, lines
        assert tuple(map(int, said.groups())) == numbers
        assert n_forwards() - before == numbers[3]


def test_verbose_without_a_cache_found_nothing(folder, capsys):
    """With cache=None all that are different are embedded."""
    texts = made_up(10)
    BertEmbedder(folder, device="cpu", cache=None, verbose=1).transform([*texts, *texts[:2]])
    said = SAID.search(capsys.readouterr().out + " ")
    assert said is not None
    assert tuple(map(int, said.groups())) == (12, 10, 0, 10)


# -- threads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", KINDS, indirect=True)
def test_threads_of_a_search_share_the_forwards(folder, cache):
    """n_jobs=2 in threads: neither embeds what the other is at, with a store of either kind."""
    texts = made_up(200)
    with joblib.parallel_config("threading", n_jobs=2):
        found = search(BertEmbedder(folder, device="cpu", cache=cache, batch_tokens=128), texts)
    assert n_forwards() == cache_info(cache).misses == 200
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expert_scores(folder, texts), atol=0.02)


# -- processes -----------------------------------------------------------------------------------------------------


def test_processes_of_a_search_and_a_later_run_share_the_forwards(folder, tmp_path, workers):
    """Law 4 with a path: n_jobs=4 sends 1,000 texts through once; another run sends none and loads no weights."""
    texts, cache = made_up(1_000), tmp_path / "vectors"
    found = search(CountingEmbedder(folder, device="cpu", cache=cache), texts, n_jobs=4)
    calls = logged(cache)
    assert len({pid for pid, _ in calls}) > 2  # several workers, and this process for the refit
    assert n_logged(cache) == 1_000
    info = cache_info(cache)
    assert (info.misses, info.hits, info.texts) == (1_000, (CANDIDATES * FOLDS + 1) * 1_000 - 1_000, 1_000)
    scores = found.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expert_scores(folder, texts), atol=0.005)

    code = f"from tests._counting import second_run; second_run({folder!r}, {str(cache)!r}, 1_000)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, timeout=240, check=True)
    later = json.loads(run.stdout)
    np.testing.assert_allclose(later["scores"], scores, atol=0.005)
    assert len(later["calls"]) == 2 * CANDIDATES * FOLDS + 1
    assert sum(later["calls"]) == 0
    assert (later["encoders"], later["loader"], later["cuda"]) == (0, False, False)
    assert cache_info(cache).misses == 1_000


def test_what_another_process_stored_meanwhile_is_not_embedded_again(folder, tmp_path, workers):
    """Four processes that start together over the same texts share them, whichever end each begins at."""
    cache, n = tmp_path / "vectors", 300
    found = workers(joblib.delayed(race)(folder, cache, n, me, 4) for me in range(4))
    assert len({pid for pid, _ in logged(cache)}) == 4
    assert n_logged(cache) == cache_info(cache).misses == n
    assert all(np.array_equal(found[0], other) for other in found)
    assert relative_difference(found[0], padded_vectors(folder, made_up(n))) < 1e-5
