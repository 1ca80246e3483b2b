"""Laws of TrainingHistoryDisplay."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert._displays import TrainingHistoryDisplay
from skbert._head import HeadClassifier

X, Y = load_iris(return_X_y=True)


@pytest.fixture
def pyplot():
    """Give pyplot without a window, and close what a test leaves open."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.fixture(scope="module")
def head():
    """Return a fitted head; don't fit it again."""
    return HeadClassifier(max_iter=12, random_state=0).fit(X, Y)


def test_curves_are_those_of_the_estimator(pyplot, head):
    """Every line holds its curve over the epochs 1, 2, …, and the mark stands at the kept epoch."""
    display = TrainingHistoryDisplay.from_estimator(head)
    epochs = np.arange(1, head.n_iter_ + 1)
    for line, curve in (
        (display.loss_line_, head.loss_curve_),
        (display.validation_loss_line_, head.validation_loss_curve_),
        (display.validation_score_line_, head.validation_scores_),
    ):
        np.testing.assert_array_equal(line.get_xdata(), epochs)
        np.testing.assert_array_equal(line.get_ydata(), curve)
    assert set(display.best_iter_line_.get_xdata()) == {head.best_iter_}
    assert isinstance(display, TrainingHistoryDisplay)


def test_picture_is_labelled(pyplot, head):
    """Axes, title and legend say what is drawn."""
    display = TrainingHistoryDisplay.from_estimator(head)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.score_ax_.get_ylabel() == "accuracy"
    assert display.ax_.get_title() == "HeadClassifier"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [
        "training loss",
        "validation loss",
        "validation accuracy",
        f"weights kept: epoch {head.best_iter_}",
    ]
    assert TrainingHistoryDisplay.from_estimator(head, name="mine").ax_.get_title() == "mine"


def test_draws_into_given_axes_without_accuracy(pyplot, head):
    """With ax, no new figure is made; accuracy=False leaves its scale out; keywords reach the lines."""
    figure, ax = pyplot.subplots()
    display = TrainingHistoryDisplay.from_estimator(head, ax=ax, accuracy=False, alpha=0.4)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.score_ax_ is display.validation_score_line_ is None
    assert display.loss_line_.get_alpha() == 0.4
    assert pyplot.get_fignums() == [figure.number]


def test_training_without_a_validation_part(pyplot):
    """Only the training loss is drawn, a single epoch as a point."""
    head = HeadClassifier(max_iter=1, early_stopping=False, random_state=0).fit(X, Y)
    display = TrainingHistoryDisplay.from_estimator(head)
    assert display.validation_loss_line_ is display.validation_score_line_ is display.score_ax_ is None
    assert display.loss_line_.get_marker() == "o"
    display.figure_.canvas.draw()


def test_constructor_draws_nothing_and_plot_can_be_repeated(pyplot):
    """The constructor keeps the arrays; plot draws them, each time into what it is given."""
    display = TrainingHistoryDisplay(loss_curve=[3.0, 2.0, 1.0], validation_loss_curve=[3.0, 2.0, 2.5], best_iter=2)
    assert not pyplot.get_fignums()
    assert not hasattr(display, "ax_")
    assert display.plot() is display
    first = display.ax_
    assert display.plot(name="again").ax_ is not first
    assert display.ax_.get_title() == "again"


def test_style_keywords_go_by_any_of_their_names(pyplot):
    """matplotlib's short names replace what is set here, as in scikit-learn's displays; both are no clash."""
    display = TrainingHistoryDisplay(loss_curve=[2.0, 1.0], validation_loss_curve=[2.0, 1.5]).plot(lw=5, ls="--", c="k")
    for line in (display.loss_line_, display.validation_loss_line_):
        assert (line.get_linewidth(), line.get_linestyle(), line.get_color()) == (5, "--", "k")


def test_curves_may_be_arrays(pyplot):
    """Arrays are drawn as lists are, and empty ones as none; an estimator may keep arrays too."""
    arrays = {"loss_curve": np.array([3.0, 2.0]), "validation_loss_curve": np.array([2.5, 3.0])}
    display = TrainingHistoryDisplay(**arrays, validation_scores=np.array([0.5, 0.6]), best_iter=1).plot()
    np.testing.assert_array_equal(display.validation_loss_line_.get_ydata(), arrays["validation_loss_curve"])
    np.testing.assert_array_equal(display.validation_score_line_.get_ydata(), [0.5, 0.6])
    empty = TrainingHistoryDisplay(loss_curve=[1.0], validation_loss_curve=np.array([]), validation_scores=[]).plot()
    assert empty.validation_loss_line_ is empty.validation_score_line_ is None
    fitted = SimpleNamespace(loss_curve_=arrays["loss_curve"], validation_loss_curve_=arrays["validation_loss_curve"])
    assert TrainingHistoryDisplay.from_estimator(fitted).best_iter == 1


@pytest.mark.parametrize("wrap", ["pipeline", "pipeline in a pipeline", "search", "search over a pipeline"])
def test_finds_the_classifier_inside(pyplot, wrap):
    """A Pipeline's last step and a search's best estimator are what is drawn."""
    estimator = HeadClassifier(max_iter=3, random_state=0)
    if "pipeline" in wrap:
        estimator = make_pipeline(StandardScaler(), estimator)
    if wrap == "pipeline in a pipeline":
        estimator = make_pipeline(StandardScaler(), estimator)
    if wrap.startswith("search"):
        estimator = GridSearchCV(estimator, {}, cv=2)
    display = TrainingHistoryDisplay.from_estimator(estimator.fit(X, Y))
    assert len(display.loss_line_.get_xdata()) == 3
    assert display.estimator_name == "HeadClassifier"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_other_estimators_with_a_loss_curve(pyplot):
    """scikit-learn's own MLPClassifier is drawn too, marked where its score was best."""
    mlp = MLPClassifier((8,), early_stopping=True, max_iter=5, random_state=0).fit(X, Y)
    display = TrainingHistoryDisplay.from_estimator(mlp)
    assert display.best_iter == np.argmax(mlp.validation_scores_) + 1
    assert display.validation_loss_line_ is None
    plain = TrainingHistoryDisplay.from_estimator(SimpleNamespace(loss_curve_=[2.0, 1.0]))
    assert plain.best_iter_line_ is None
    assert (
        TrainingHistoryDisplay.from_estimator(
            SimpleNamespace(loss_curve_=[2.0, 1.0, 0.5], validation_loss_curve_=[2.0, 1.0, 1.5])
        ).best_iter
        == 2
    )


def test_unfitted_estimators_are_refused():
    """An unfitted head, alone or in a Pipeline, gives scikit-learn's NotFittedError."""
    for estimator in (HeadClassifier(), make_pipeline(StandardScaler(), HeadClassifier())):
        with pytest.raises(NotFittedError, match="This HeadClassifier instance is not fitted yet"):
            TrainingHistoryDisplay.from_estimator(estimator)


def test_estimators_without_a_history_are_refused():
    """A classifier that keeps no curve is named, with what to pass instead."""
    with pytest.raises(NotFittedError, match=r"LogisticRegression has no loss_curve_.*Pass a fitted HeadClassifier"):
        TrainingHistoryDisplay.from_estimator(LogisticRegression(max_iter=1000).fit(X, Y))


def test_missing_matplotlib_is_told(monkeypatch, head):
    """Without matplotlib the error names the extra to install; importing the display needs none."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"requires matplotlib. Install it with: pip install 'skbert\[plot\]'"):
        TrainingHistoryDisplay.from_estimator(head)
