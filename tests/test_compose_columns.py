"""Pipelines of text within a ColumnTransformer: names and rows go through all of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, MemoryStore, TextCleaner
from tests._compose import make_texts

X, _, _ = make_texts()
FRAME = pd.DataFrame({"n": np.arange(len(X), dtype=float)[::-1], "text": X}, index=[f"row {k}" for k in range(len(X))])


@pytest.fixture
def embedder(tiny_bert_folder):
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=MemoryStore())


@pytest.mark.parametrize("container", ["pandas", "polars", "default"])
@pytest.mark.parametrize("column", ["text", ["text"]], ids=str)
def test_a_cleaner_and_an_embedder_on_a_named_column(embedder, column, container):
    """By name and by list, with every container: the embedder's columns, then the numbers, row by row."""
    text = make_pipeline(TextCleaner(), embedder)
    columns = ColumnTransformer([("text", text, column), ("numbers", StandardScaler(), ["n"])])
    found = columns.set_output(transform=container).fit_transform(FRAME)
    again = columns.transform(FRAME)
    names = [*(f"text__bertembedder{k}" for k in range(32)), "numbers__n"]
    assert columns.get_feature_names_out().tolist() == names
    assert np.array_equal(np.asarray(found)[:, :32], embedder.transform(X))
    assert np.array_equal(np.asarray(found), np.asarray(again))
    if container != "default":
        assert list(found.columns) == names
    if container == "pandas":
        assert found.index.tolist() == FRAME.index.tolist()


def test_a_cleaner_names_the_column_of_a_series_and_no_other():
    """A Series has a name to give; a list, and a Series without one, do not."""
    cleaner = TextCleaner()
    assert cleaner.fit(pd.Series(X, name="text")).get_feature_names_out().tolist() == ["text"]
    assert cleaner.fit(X).get_feature_names_out().tolist() == ["x0"]
    assert cleaner.fit(pd.Series(X)).get_feature_names_out().tolist() == ["x0"]
    assert cleaner.fit([("a", "b")]).get_feature_names_out().tolist() == ["x0", "x1"]
