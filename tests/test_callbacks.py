"""scikit-learn's callbacks (1.9) over the epochs of the head, alone and within pipelines and searches."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, MemoryStore, TextCleaner
from tests.test_classifier import HEAD, sentences

callback = pytest.importorskip(
    "sklearn.callback", reason=f"callbacks came with scikit-learn 1.9, this is {sklearn.__version__}"
)

X, Y = sentences(80)
PATIENT = {**HEAD, "max_iter": 12, "n_iter_no_change": 12}


class Recorder:
    """Writes down what it is told; asks to stop at the end of epoch `stop_at`."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.told = []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context):
        self.told.append(f"end {context.task_name} {context.task_id}")
        return context.task_name == "epoch" and context.task_id == self.stop_at


class Predictions(Recorder):
    """Keeps what the estimator of each epoch predicts for the training data."""

    def __init__(self, method="predict_proba"):
        super().__init__()
        self.method, self.seen = method, []

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.seen.append((context.task_name, getattr(fitted_estimator, self.method)(X)))


@pytest.fixture
def embedder(tiny_bert_folder):
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=MemoryStore())


def fitted_on(kind, embedder, **params):
    """Return an unfitted classifier and what to fit it on: texts for one kind, vectors for the other."""
    if kind == "texts":
        return BertSentimentClassifier(embedder, **{**PATIENT, **params}), X
    return HeadClassifier(**{**PATIENT, **params}), embedder.transform(X)


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_callbacks_hear_of_the_fit_and_of_each_epoch(kind, embedder):
    """One task for the fit with one subtask an epoch, begun and ended in order, set up and torn down once."""
    recorder = Recorder()
    estimator, data = fitted_on(kind, embedder, max_iter=3)
    estimator.set_callbacks(recorder).fit(data, Y)
    epochs = [f"{word} epoch {k}" for k in range(3) for word in ("begin", "end")]
    assert recorder.told == ["setup", "begin fit 0", *epochs, "end fit 0", "teardown"]


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_a_callback_can_stop_the_training(kind, embedder):
    """It ends after the epoch that was asked for, with the best weights so far, as with so small a max_iter."""
    stopped, data = fitted_on(kind, embedder)
    stopped.set_callbacks(Recorder(stop_at=4)).fit(data, Y)
    expected, _ = fitted_on(kind, embedder, max_iter=5)
    assert stopped.n_iter_ == 5
    assert np.array_equal(stopped.predict_proba(data), expected.fit(data, Y).predict_proba(data))


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_callbacks_change_nothing(kind, embedder):
    """A fit that is watched gives the bits of one that is not."""
    watched, data = fitted_on(kind, embedder)
    plain, _ = fitted_on(kind, embedder)
    watched.set_callbacks(Predictions()).fit(data, Y)
    assert np.array_equal(watched.predict_proba(data), plain.fit(data, Y).predict_proba(data))


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_the_estimator_of_an_epoch_predicts_as_if_the_fit_had_ended_there(kind, embedder):
    """Without a validation part: equal to fits of 1, 2, … epochs; the last word is the fitted estimator's."""
    predictions = Predictions()
    estimator, data = fitted_on(kind, embedder, early_stopping=False, max_iter=3)
    estimator.set_callbacks(predictions).fit(data, Y)
    for k, (task, proba) in enumerate(predictions.seen):
        n_epochs = min(k + 1, 3)
        expected, _ = fitted_on(kind, embedder, early_stopping=False, max_iter=n_epochs)
        assert task == ("epoch" if k < 3 else "fit")
        assert np.array_equal(proba, expected.fit(data, Y).predict_proba(data)), (k, task)
    assert len(predictions.seen) == 4


@pytest.mark.parametrize("store", [True, False])
def test_scoring_monitor_scores_each_epoch_and_bert_runs_once(embedder, store, capsys):
    """Scores are those of the training texts, and each text is embedded once, with and without a store."""
    embedder.set_params(cache=MemoryStore() if store else None, verbose=1)
    monitor = callback.ScoringMonitor(scoring="accuracy")
    classifier = BertSentimentClassifier(embedder, **PATIENT).set_callbacks(monitor).fit(X, Y)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[BertEmbedder]")]
    assert [line for line in shown if "embedded 0" not in line] == shown[:1]
    log = monitor.get_logs().data_as_pandas
    epochs = log[log["task_name"] == "epoch"]
    assert len(epochs) == classifier.n_iter_ == 12
    assert len(shown) == 1 + 12 + 1
    assert log[log["task_name"] == "fit"]["accuracy"].item() == accuracy_score(Y, classifier.predict(X))
    assert embedder.cache is None or embedder.cache.info().misses == len(set(X))
    assert (classifier.embedder.cache, classifier.embedder_.cache) == (embedder.cache, embedder.cache)


def test_scoring_monitor_gets_the_sample_weights(embedder):
    """As in scikit-learn's own estimators, the scores are weighted by what `fit` was given."""
    weight = np.linspace(0.1, 2, len(Y))
    monitor = callback.ScoringMonitor(scoring="accuracy")
    head = HeadClassifier(**PATIENT).set_callbacks(monitor)
    vectors = embedder.transform(X)
    head.fit(vectors, Y, sample_weight=weight)
    log = monitor.get_logs().data_as_pandas
    expected = accuracy_score(Y, head.predict(vectors), sample_weight=weight)
    assert log[log["task_name"] == "fit"]["accuracy"].item() == pytest.approx(expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_progress_bar_reaches_the_epochs_through_a_search_and_a_pipeline(embedder, tmp_path, capsys, n_jobs):
    """Nobody on the way says that it does not support callbacks, and the bars name each estimator."""
    embedder.set_params(cache=tmp_path / "vectors")
    pipeline = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, **{**HEAD, "max_iter": 3}))
    search = GridSearchCV(pipeline, {"bertsentimentclassifier__dropout": [0.0, 0.5]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not support callbacks.*")
        search.fit(X, Y)
    assert "search" in capsys.readouterr().out
    assert search.score(X, Y) > 0.5


def test_progress_bar_reaches_transformers_in_a_pipeline(embedder):
    """TextCleaner and BertEmbedder have a task of their own, though no epochs."""
    cleaned, embedded = Recorder(), Recorder()
    cleaner = TextCleaner().set_callbacks(cleaned)
    bar = callback.ProgressBar(max_propagation_depth=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not support callbacks.*")
        make_pipeline(cleaner, embedder.set_callbacks(embedded), HeadClassifier(**HEAD)).set_callbacks(bar).fit(X, Y)
    assert cleaned.told == ["setup", "begin fit 0", "end fit 0", "teardown"]
    assert embedded.told == ["setup", "begin fit 1", "end fit 1", "teardown"]


def test_teardown_comes_after_an_error_too(embedder):
    """What a callback opened is closed where the fit fails."""
    recorder = Recorder()
    estimator = BertSentimentClassifier(embedder, **{**PATIENT, "learning_rate_init": 1e38, "early_stopping": False})
    with pytest.raises(ValueError, match="no longer a finite number"):
        estimator.set_callbacks(recorder).fit(X, Y)
    assert recorder.told[-1] == "teardown"
    assert not [name for name in vars(estimator) if name.startswith("_callback")]


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_an_error_in_the_input_comes_before_any_callback(kind, embedder):
    """Nothing is set up for a fit that cannot begin."""
    recorder = Recorder()
    estimator, data = fitted_on(kind, embedder)
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.set_callbacks(recorder).fit(data, Y[:-1])
    assert recorder.told == []


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_with_early_stopping_an_epochs_estimator_has_the_weights_and_the_score_of_that_epoch(kind, embedder):
    """Not those of the best one so far, which is known at the end only."""
    seen = []

    class Look(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "epoch":
                seen.append(
                    (fitted_estimator.n_iter_, fitted_estimator.best_iter_, fitted_estimator.best_validation_score_)
                )

    estimator, data = fitted_on(kind, embedder)
    estimator.set_callbacks(Look()).fit(data, Y)
    assert seen == [(k, k, score) for k, score in enumerate(estimator.validation_scores_, start=1)]


def test_a_watched_estimator_can_be_pickled(embedder):
    """Callbacks travel with it, as scikit-learn's do."""
    classifier = BertSentimentClassifier(embedder, **PATIENT).set_callbacks(Recorder()).fit(X, Y)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))
