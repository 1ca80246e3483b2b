"""Pipelines, unions and columns: the matrix that comes out is the one put together by hand."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertSentimentClassifier, TextCleaner
from tests import _compose
from tests._compose import HEAD, every_form, make_texts, two_d

X, Y, _ = make_texts()
FORMS = every_form(X)
embedder, vectors = _compose.embedder, _compose.vectors
WIDTH = 32
NAMES = [f"bertembedder{k}" for k in range(WIDTH)]
INDEX = pd.Index([f"row {k}" for k in range(len(X))], name="tweet")
DRAW = np.random.default_rng(1)
# Numbers beside the texts, out of order and of different kinds, with a column that nobody asks for.
FRAME = pd.DataFrame(
    {
        "followers": DRAW.integers(0, 9_000, len(X)),
        "text": X,
        "id": [f"#{k}" for k in range(len(X))],
        "hour": DRAW.random(len(X)),
    },
    index=INDEX,
)


@pytest.fixture
def numbers():
    return StandardScaler().fit_transform(FRAME[["followers", "hour"]])


# -- Pipeline ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_pipeline_with_a_classifier(embedder, vectors, form):
    """Cleaner, embedder and regression in a row are the regression on the vectors of the cleaned texts."""
    noisy = {"list": [f"  {text}  &amp;" for text in X]}.get(form, FORMS[form])
    outside = embedder.transform([f"{text} &" for text in X]) if form == "list" else vectors
    expected = LogisticRegression().fit(outside, Y)
    pipe = make_pipeline(TextCleaner(), embedder, LogisticRegression()).fit(noisy, Y)
    np.testing.assert_allclose(pipe.predict_proba(noisy), expected.predict_proba(outside), rtol=1e-4)
    assert pipe.score(noisy, Y) == expected.score(outside, Y) > 0.6
    assert pipe[:-1].get_feature_names_out().tolist() == NAMES


def test_pipeline_ends_in_the_classifier_of_texts(embedder, vectors):
    """BertSentimentClassifier stands at the end of a pipeline, with all its methods and the labels it knows."""
    classifier = BertSentimentClassifier(embedder, **HEAD)
    pipe = Pipeline([("clean", TextCleaner()), ("classify", classifier)]).fit(X, Y)
    alone = clone(classifier).fit(X, Y)
    for method in ("predict", "predict_proba", "decision_function"):
        assert np.array_equal(getattr(pipe, method)(X), getattr(alone, method)(X))
    assert pipe.classes_.tolist() == ["bad", "good"]
    assert pipe.score(X, Y) == alone.score(X, Y) > 0.6


def test_pipeline_with_clusters(embedder, vectors):
    """KMeans over the pipeline's vectors finds the clusters that it finds in the matrix."""
    clusters = KMeans(4, n_init=2, random_state=0)
    pipe = make_pipeline(TextCleaner(), embedder, clusters).fit(X)
    expected = clone(clusters).fit(vectors)
    assert np.array_equal(pipe.predict(X), expected.labels_)
    assert pipe[-1].inertia_ == expected.inertia_
    assert np.array_equal(pipe.transform(X), expected.transform(vectors))
    assert len(set(expected.labels_)) == 4


def test_pipeline_with_neighbours(embedder):
    """A retweet's nearest neighbour is its original, at no distance, because the cleaner takes the mark away."""
    search = make_pipeline(TextCleaner(), embedder, NearestNeighbors(n_neighbors=2)).fit(X)
    queries = [f"RT @ann: {text}" for text in X[:5]]
    distances, neighbours = search[-1].kneighbors(search[:-1].transform(queries))
    assert neighbours[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert distances[:, 0].max() < 1e-4 < distances[:, 1].min()


@pytest.mark.parametrize("deep", [clone, copy.deepcopy], ids=["clone", "deepcopy"])
def test_copies_of_a_pipeline_share_the_store_and_nothing_else(embedder, vectors, deep):
    """A copy has equal parameters, finds the vectors of the original, and what is set on it stays with it."""
    pipe = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, **HEAD)).fit(X, Y)
    before = pipe.predict_proba(X)
    other = deep(pipe)
    inner = other[-1].embedder
    assert inner is not embedder
    assert inner.get_params() == embedder.get_params()
    assert inner.cache is embedder.cache
    if deep is copy.deepcopy:
        assert np.array_equal(other.predict_proba(X), before)
    else:
        assert not hasattr(other[-1], "head_")
    misses = embedder.cache.info().misses
    other.set_params(bertsentimentclassifier__embedder__layers=0, bertsentimentclassifier__max_iter=2).fit(X, Y[::-1])
    assert embedder.cache.info().misses == misses
    assert not np.allclose(other.predict_proba(X), before)
    assert np.array_equal(pipe.predict_proba(X), before)
    assert embedder.layers == -1


# -- FeatureUnion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "array", "series", "polars Series", "(n, 1) array"])
def test_union_with_words_is_sparse_and_named(embedder, vectors, form):
    """Vectors and word counts stand side by side, in blocks that are those of each part alone."""
    given = pytest.importorskip("polars").Series(X.tolist()) if form.startswith("polars") else FORMS[form]
    words = TfidfVectorizer()
    counts = words.fit_transform(X)
    if form == "(n, 1) array":  # TfidfVectorizer takes no column
        part = ColumnTransformer([("first", TfidfVectorizer(), 0)], verbose_feature_names_out=False)
    else:
        part = TfidfVectorizer()
    union = FeatureUnion([("bert", embedder), ("words", part)])
    both = union.fit_transform(given)
    assert sparse.issparse(both)
    assert both.shape == (len(X), WIDTH + counts.shape[1])
    assert np.array_equal(both[:, :WIDTH].toarray(), vectors)
    assert np.array_equal(both[:, WIDTH:].toarray(), counts.toarray())
    names = union.get_feature_names_out().tolist()
    assert names[:WIDTH] == [f"bert__{name}" for name in NAMES]
    assert names[WIDTH:] == [f"words__{word}" for word in sorted(words.vocabulary_)]
    np.testing.assert_allclose(union.transform(given).toarray(), both.toarray(), rtol=1e-12)


def test_union_with_dense_parts_is_dense(embedder, vectors):
    """Two embedders, and words made dense, give one array."""
    topics = make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0))
    first = clone(embedder).set_params(layers=0, pooling="max")
    union = FeatureUnion([("last", embedder), ("first", first), ("topics", topics)])
    found = union.fit_transform(X)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, np.hstack([vectors, first.transform(X), clone(topics).fit_transform(X)]))


def test_union_as_a_frame(embedder, vectors):
    """``set_output`` names the columns of two embedders after both; words have none, and scikit-learn says so."""
    first = clone(embedder).set_params(layers=0, pooling="max")
    union = FeatureUnion([("last", embedder), ("first", first)]).set_output(transform="pandas")
    frame = union.fit_transform(pd.DataFrame({"text": X}, index=INDEX))
    assert frame.index.equals(INDEX)
    assert frame.columns.tolist() == [f"{part}__{name}" for part in ("last", "first") for name in NAMES]
    assert np.array_equal(frame.to_numpy(), np.hstack([vectors, first.transform(X)]))
    with pytest.raises(ValueError, match="`set_output` is not available"):
        FeatureUnion([("bert", embedder), ("words", TfidfVectorizer())]).set_output(transform="pandas")


def test_union_before_a_classifier_in_a_grid(embedder, vectors):
    """The union's parts are searched by their names, and each candidate scores as its own matrix does."""
    union = FeatureUnion([("bert", embedder), ("words", TfidfVectorizer())])
    pipe = Pipeline([("union", union), ("classify", LogisticRegression())])
    grid = {"union__bert__layers": [0, -1], "union__words": [TfidfVectorizer(max_features=4), "drop"]}
    search = GridSearchCV(pipe, grid, cv=2, scoring="neg_log_loss").fit(list(X), Y)
    for k, params in enumerate(search.cv_results_["params"]):
        if params["union__words"] == "drop":  # what is not learned from the texts can stand outside the split
            outside = clone(embedder).set_params(layers=params["union__bert__layers"]).transform(X)
            expected = cross_val_score(LogisticRegression(), outside, Y, cv=2, scoring="neg_log_loss").mean()
            # a union's one part comes out as float64, and the solver works in the precision that it is given
            assert search.cv_results_["mean_test_score"][k] == pytest.approx(expected, rel=1e-3)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 4


# -- ColumnTransformer: frames of both libraries, in and out, are in test_common_tools.py ---------------------------


def columns(embedder, column):
    """Return the embedder on one column, a scaler on two others, and the rest dropped."""
    return ColumnTransformer([("bert", embedder, column), ("numbers", StandardScaler(), ["followers", "hour"])])


@pytest.mark.parametrize("column", ["text", ["text"], 1, [1]], ids=str)
def test_a_column_of_texts_beside_numbers(embedder, vectors, numbers, column):
    """By name or number, alone or in a list, the same matrix comes out, with names that say whence."""
    transformer = columns(embedder, column)
    found = transformer.fit_transform(FRAME)
    assert np.array_equal(found, np.hstack([vectors, numbers]))
    assert np.array_equal(transformer.transform(FRAME[::-1]), found[::-1])
    names = transformer.get_feature_names_out().tolist()
    assert names == [*(f"bert__{name}" for name in NAMES), "numbers__followers", "numbers__hour"]
    inner = transformer.named_transformers_["bert"]
    # in a list it is a frame with a name; alone it is a Series, which has no columns
    assert getattr(inner, "feature_names_in_", None) == (["text"] if isinstance(column, list) else None)


def test_what_is_left_of_the_columns_passes_through(embedder, vectors):
    """Columns that nobody named stay beside the vectors, and without prefixes the names are the parts' own."""
    kept = FRAME[["followers", "text", "hour"]]
    transformer = make_column_transformer(
        (embedder, ["text"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    found = transformer.fit_transform(kept)
    assert found.columns.tolist() == [*NAMES, "followers", "hour"]
    assert np.array_equal(found[["followers", "hour"]].to_numpy(), kept[["followers", "hour"]].to_numpy())
    assert np.array_equal(found[NAMES].to_numpy(), vectors)


def test_two_columns_of_texts(embedder):
    """Each by its own embedder, or both as the two sides of a pair, which is another vector."""
    frame = FRAME.assign(reply=X[::-1])
    one, other = embedder.transform(X), embedder.transform(X[::-1])
    apart = ColumnTransformer([("text", embedder, "text"), ("reply", embedder, ["reply"])])
    assert np.array_equal(apart.fit_transform(frame), np.hstack([one, other]))
    assert apart.get_feature_names_out()[[0, WIDTH]].tolist() == ["text__bertembedder0", "reply__bertembedder0"]
    pairs = make_column_transformer((embedder, ["text", "reply"])).fit_transform(frame)
    assert np.array_equal(pairs, embedder.transform(list(zip(X, X[::-1], strict=True))))
    assert not np.allclose(pairs, one, atol=1e-3)


def test_more_columns_than_a_pair_are_an_error_that_shows_the_way(embedder):
    """What a selector by dtype picks may be too much; the error names the columns."""
    frame = FRAME.assign(reply=X[::-1])
    transformer = ColumnTransformer([("bert", embedder, make_column_selector(dtype_exclude="number"))])
    with pytest.raises(ValueError, match=r"got 3 columns: \['text', 'id', 'reply'\].*ColumnTransformer"):
        transformer.fit(frame)


def test_cleaner_and_words_by_column(embedder):
    """A pipeline stands on a column as its last step would, and TfidfVectorizer beside it wants the bare name."""
    shouted = FRAME.assign(text=[f"RT @ann: {text} &amp;" for text in X])
    transformer = ColumnTransformer(
        [
            ("bert", make_pipeline(TextCleaner(), embedder), ["text"]),
            ("words", make_pipeline(TextCleaner(), TfidfVectorizer()), "text"),
        ],
        sparse_threshold=0,
    )
    cleaned = [f"{text} &" for text in X]
    found = transformer.fit_transform(shouted)
    assert np.array_equal(found[:, :WIDTH], embedder.transform(cleaned))
    assert np.array_equal(found[:, WIDTH:], TfidfVectorizer().fit_transform(cleaned).toarray())


def test_columns_before_a_classifier_in_a_grid(embedder, numbers):
    """The embedder is reached through pipeline and columns, and each candidate scores as its own matrix does."""
    pipe = Pipeline([("columns", columns(embedder, "text")), ("classify", LogisticRegression())])
    layers = [0, 1, (0, -1)]
    search = GridSearchCV(pipe, {"columns__bert__layers": layers}, cv=3, scoring="neg_log_loss").fit(FRAME, Y)
    for k, layer in enumerate(layers):
        embedding = clone(embedder).set_params(layers=layer)
        by_hand = make_column_transformer((StandardScaler(), slice(0, 2)), remainder="passthrough")
        matrix = np.hstack([FRAME[["followers", "hour"]].to_numpy(), embedding.transform(X)])
        expected = cross_val_score(
            make_pipeline(by_hand, LogisticRegression()), matrix, Y, cv=3, scoring="neg_log_loss"
        )
        assert search.cv_results_["mean_test_score"][k] == pytest.approx(expected.mean(), rel=1e-3)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 3
    assert search.best_estimator_.predict(FRAME).shape == (len(X),)


# -- frames by configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "series", *two_d(X)])
def test_frames_by_the_configuration(embedder, vectors, form):
    """``transform_output="pandas"`` reaches every step: frames with names, and with the index where there is one."""
    given = pd.Series(X, index=INDEX) if form == "series" else FORMS[form]
    pipe = make_pipeline(TextCleaner(), embedder, StandardScaler())
    with sklearn.config_context(transform_output="pandas"):
        found = pipe.fit_transform(given)
        bare = embedder.transform(given)
    assert found.columns.tolist() == bare.columns.tolist() == NAMES
    assert found.index.equals(INDEX if form == "series" else pd.RangeIndex(len(X)))
    assert np.array_equal(bare.to_numpy(), vectors)
    assert np.array_equal(found.to_numpy(), StandardScaler().fit_transform(vectors))
    assert pipe[-1].feature_names_in_.tolist() == NAMES
    assert isinstance(embedder.transform(given), np.ndarray)  # outside, arrays again


def test_a_polars_series_by_the_configuration(embedder, vectors):
    """polars goes in and comes out, through cleaner and embedder."""
    polars = pytest.importorskip("polars")
    with sklearn.config_context(transform_output="polars"):
        found = make_pipeline(TextCleaner(), embedder).fit_transform(polars.Series("tweet", X.tolist()))
    assert isinstance(found, polars.DataFrame)
    assert found.columns == NAMES
    assert np.array_equal(found.to_numpy(), vectors)
