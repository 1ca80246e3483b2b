"""Laws of text_report: its numbers are those of a plain count, it loads no weights, and it prints what is safe."""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections import Counter, defaultdict
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import transformers
from hypothesis import given, settings, strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline, make_pipeline

import skbert
from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner, text_report
from skbert._engine import loading, registry
from skbert._texts import near_keys
from skbert.datasets import load_gop_debate, load_sample_tweets
from skbert.exceptions import InvalidParameterError, TextInputError
from tests._inputs import CONTAINERS

TEXTS = ["A!", "a", "a", "b", "", None, "c", "RT @k: b", "  ", "b", "c", "d"]
LABELS = ["x", "x", "y", "y", "x", "x", "z", "x", "y", "y", None, "x"]
GROUPS = [0, 0, 1, 1, 2, 2, 3, 1, 4, 4, 4, 5]

SPLITS = [(np.arange(0, 540, 2), np.arange(1, 540, 2)), (np.arange(1, 540, 2), np.arange(0, 540, 2))]

rows_of_texts = st.lists(st.sampled_from(["a", "A", "a!", "b", "B", "c", "", " ", None]), min_size=1, max_size=14)


def numbers(report: pd.DataFrame, name: str) -> tuple[int, object, list[int]]:
    """Return what a finding counts, of how many, and its rows."""
    count, of, rows = report.loc[name, ["count", "of", "rows"]]
    return int(count), None if pd.isna(of) else int(of), list(rows)


def has_text(text: str | None) -> bool:
    return text is not None and text.strip() != ""


# -- counts ------------------------------------------------------------------------------------------------------------


def test_what_is_found_in_a_small_table():
    """Every number and every row of a table that can be counted by hand."""
    report = text_report(TEXTS, LABELS, groups=GROUPS, cv=[([0, 3, 4, 5], [1, 2, 4, 5, 6, 7]), ([6], [10, 11])])
    assert {name: numbers(report, name) for name in report.index} == {
        "texts": (12, 12, []),
        "missing texts": (1, 12, [5]),
        "empty texts": (2, 12, [4, 8]),
        "different texts": (6, 12, []),
        "identical texts": (3, 12, [2, 9, 10]),
        "near-identical texts": (5, 12, [1, 2, 7, 9, 10]),
        "longest text": (8, None, [7]),
        "missing labels": (1, 12, [10]),
        "classes": (3, None, []),
        "class x": (6, 11, [0, 1, 4, 5, 7, 11]),
        "class y": (4, 11, [2, 3, 8, 9]),
        "class z": (1, 11, [6]),
        "classes with one text": (1, 3, [6]),
        "conflicting labels": (1, 6, [1, 2]),
        "conflicting labels, near-identical": (2, 4, [0, 1, 2, 3, 7, 9]),
        "identical across groups": (3, 6, [1, 2, 3, 6, 9, 10]),
        "near-identical across groups": (3, 4, [0, 1, 2, 3, 6, 7, 9, 10]),
        "identical across splits": (1, 8, [10]),
        "identical in the worst split": (1, 2, [10]),
        "near-identical across splits": (4, 8, [1, 2, 7, 10]),
        "near-identical in the worst split": (3, 6, [1, 2, 7]),
    }
    np.testing.assert_array_equal(report.groups, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 2])


@settings(max_examples=150, deadline=None)
@given(rows_of_texts, st.data())
def test_numbers_are_those_of_a_plain_count(texts, data):
    """Copies, conflicts and groups are those that loops over dictionaries find."""
    n = len(texts)
    y = data.draw(st.lists(st.sampled_from(["p", "q", None]), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    report = text_report(texts, y, groups=groups)
    keys = near_keys(texts).tolist()
    for name, key_of in (("identical", lambda row: texts[row]), ("near-identical", lambda row: keys[row])):
        seen, repeats, labels, places = set(), [], defaultdict(set), defaultdict(set)
        labelled = defaultdict(list)
        for row in filter(lambda row: has_text(texts[row]), range(n)):
            key = key_of(row)
            repeats += [row] * (key in seen)
            seen.add(key)
            places[key].add(groups[row])
            if y[row] is not None:
                labels[key].add(y[row])
                labelled[key].append(row)
        assert numbers(report, f"{name} texts") == (len(repeats), n, repeats)
        at_odds = [key for key in labels if len(labels[key]) > 1]
        title = "conflicting labels" + (", near-identical" if name == "near-identical" else "")
        expected = sorted(row for key in at_odds for row in labelled[key])
        assert numbers(report, title) == (len(at_odds), len(labels), expected)
        spread = [key for key in places if len(places[key]) > 1]
        expected = [row for row in range(n) if has_text(texts[row]) and key_of(row) in spread]
        assert numbers(report, f"{name} across groups") == (len(spread), len(places), expected)
    for label, size in Counter(label for label in y if label is not None).items():
        assert numbers(report, f"class {label}")[0] == size
    # Every row is missing, empty, a copy, or the first of its kind.
    count = report["count"]
    assert count["different texts"] + count[["missing texts", "empty texts", "identical texts"]].sum() == n


@settings(max_examples=100, deadline=None)
@given(rows_of_texts, st.data())
def test_groups_keep_copies_and_groups_together_and_nothing_else(texts, data):
    """Two rows have one number exactly where a chain of near copies and common groups leads from one to the other."""
    n = len(texts)
    groups = data.draw(st.none() | st.lists(st.sampled_from(["r", "s", "t", None]), min_size=n, max_size=n))
    keys = near_keys(texts).tolist()
    reached = [{row} for row in range(n)]
    for _ in range(n):
        for row in range(n):
            for other in range(n):
                near = keys[row] == keys[other] and has_text(texts[row])
                if near or (groups is not None and groups[row] is not None and groups[row] == groups[other]):
                    reached[row] = reached[other] = reached[row] | reached[other]
    found = text_report(texts, groups=groups).groups
    assert found.shape == (n,)
    for row in range(n):
        assert set(np.flatnonzero(found == found[row]).tolist()) == {k for k in range(n) if reached[k] & reached[row]}


def test_rows_without_a_group_are_in_none():
    """A missing group is not one more group, and joins nothing."""
    report = text_report(["a", "a", "b", "c"], groups=[None, 1, None, np.nan])
    assert numbers(report, "identical across groups") == (0, 1, [])
    np.testing.assert_array_equal(report.groups, [0, 0, 1, 2])


def test_many_rows_of_one_group_stay_together():
    """A group of more rows than a byte counts is one."""
    report = text_report([f"text {k}" for k in range(600)], groups=[0] * 256 + [1] * 344)
    assert Counter(report.groups.tolist()) == {0: 256, 1: 344}


@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_every_container_gives_the_same_report(make, rows):
    """What holds the texts makes no difference, nor does it change."""
    y = [k % 2 for k in range(len(rows))]
    pd.testing.assert_frame_equal(text_report(make(rows), y), text_report(rows, y))


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda y: np.array(y, dtype=object),
        lambda y: np.array(y, dtype=object)[:, None],
        lambda y: pd.Series(y, index=range(5, 5 + len(y))),
        lambda y: pd.Series(y, dtype="category"),
        lambda y: pd.Series(y, dtype="string[python]"),
        lambda y: pd.DataFrame({"y": y}),
        lambda y: pytest.importorskip("polars").Series(y),
        lambda y: pytest.importorskip("pyarrow").array(y),
    ],
)
def test_labels_and_groups_come_in_any_container(make):
    """Labels and groups are read by their place, whatever holds them; None, NaN and pd.NA are missing."""
    pd.testing.assert_frame_equal(
        text_report(TEXTS, make(LABELS), groups=make(LABELS)), text_report(TEXTS, LABELS, groups=LABELS)
    )


def test_labels_of_every_kind():
    """Numbers are classes unless they have fractions; NaN among texts is missing; 1 and "1" are two classes."""
    assert list(text_report(["a", "b"], [1, 0]).filter(like="class", axis=0).index)[1:3] == ["class 0", "class 1"]
    assert numbers(text_report(["a", "b"], [1.0, np.nan]), "missing labels") == (1, 2, [1])
    assert numbers(text_report(["a", "b"], ["nan", float("nan")]), "class nan") == (1, 1, [0])
    assert {"class 1", "class '1'"} <= set(text_report(["a", "b"], [1, "1"]).index)
    assert numbers(text_report(["a", "b"], [True, False]), "class True") == (1, 2, [0])
    measured = text_report(["a", "a", "b"], [0.5, 1.5, 2.0], cv=KFold(2))
    assert not any(name.startswith("class") for name in measured.index)
    assert numbers(measured, "conflicting labels") == (1, 2, [0, 1])
    assert "Stratified" not in measured.loc["near-identical across splits", "advice"]


def test_pairs_are_counted_as_one_text():
    """A pair with one side missing is missing, one with blanks on both sides is empty."""
    report = text_report([("a", "b"), ("a", "b"), ("b", "a"), ("A", "b!"), ("", " "), ("a", None)])
    expected = {"missing texts": [5], "empty texts": [4], "identical texts": [1], "near-identical texts": [1, 3]}
    assert {name: numbers(report, name)[2] for name in expected} == expected
    assert numbers(report, "longest text")[0] == 3


@pytest.mark.parametrize("texts", [[None], [""], [None, ""], [np.nan, pd.NA]])
def test_nothing_but_missing_and_empty_texts(texts):
    """There may be nothing to compare, in texts and in labels."""
    report = text_report(texts, [None] * len(texts), groups=range(len(texts)), cv=[([0], [0])])
    assert report.loc["near-identical texts", "count"] == 0
    assert report["count"].sum() > 0
    assert numbers(report, "near-identical across splits") == (0, 1, [])
    assert str(report)
    assert len(set(report.groups)) == len(texts)


# -- splits ------------------------------------------------------------------------------------------------------------


def leaks(texts, splits, keys):
    """Return the test rows with a copy in their training part, split by split."""
    found = []
    for train, test in splits:
        known = {keys[row] for row in train if has_text(texts[row])}
        found.append([row for row in test.tolist() if has_text(texts[row]) and keys[row] in known])
    return found


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
@pytest.mark.parametrize(
    ("cv", "same"),
    [
        (3, StratifiedKFold(3)),
        (np.int64(3), StratifiedKFold(3)),
        (KFold(4), None),
        (StratifiedKFold(3, shuffle=True, random_state=1), None),
        (ShuffleSplit(5, test_size=0.3, random_state=0), None),
        (LeaveOneOut(), None),
        (GroupKFold(3), None),
        (StratifiedGroupKFold(3), None),
    ],
)
def test_splits_are_those_of_scikit_learn(cv, same):
    """Test rows with a copy in the training part are those that a loop over the same splits finds."""
    X, y = load_sample_tweets(return_X_y=True)
    X, y = [*X[:80], *X[150:190], "", None, "", *(text.upper() for text in X[:40])], [*y[:120], *y[:43]]
    groups = [k // 7 for k in range(len(X))]
    report = text_report(X, y, groups=groups, cv=cv)
    splits = list((same or cv).split(X, y, groups if same is None else None))
    for name, keys in (("identical", X), ("near-identical", near_keys(X).tolist())):
        found = leaks(X, splits, keys)
        n_test = [len(test) for _, test in splits]
        rows = sorted({row for split in found for row in split})
        assert numbers(report, f"{name} across splits") == (sum(map(len, found)), sum(n_test), rows)
        worst = max(len(split) / size for split, size in zip(found, n_test, strict=True))
        assert report.loc[f"{name} in the worst split", "share"] == worst
        assert numbers(report, f"{name} in the worst split")[2] in found
    assert numbers(report, "near-identical across splits")[0] > 0


def test_splits_without_labels_and_by_the_groups_of_the_report():
    """Without labels an int is KFold; splits by the report's groups have copies on one side only."""
    X, y = load_sample_tweets(return_X_y=True)
    report = text_report(X, cv=4)
    assert numbers(report, "identical across splits")[0] == sum(map(len, leaks(X, KFold(4).split(X), X))) > 0
    fair = text_report(X, y, groups=report.groups, cv=StratifiedGroupKFold(4))
    assert fair.filter(like="split", axis=0)["count"].sum() == 0
    assert fair.filter(like="across groups", axis=0)["count"].sum() == 0
    assert not fair.filter(like="split", axis=0)["advice"].any()


def test_an_iterable_of_splits_is_read_once_and_may_hold_masks():
    """A generator will do; masks and numbers from behind mean the rows that they mean in NumPy."""
    texts = ["a", "b", "a", "b", "c"]
    splits = [(np.array([0, 1]), np.array([2, 4])), (np.array([0, 2]), np.array([1, 3]))]
    masks = [tuple(np.isin(np.arange(5), side) for side in split) for split in splits]
    behind = [(train - 5, test - 5) for train, test in splits]
    reports = [text_report(texts, cv=cv) for cv in (splits, iter(splits), (s for s in splits), masks, iter(behind))]
    assert numbers(reports[0], "identical across splits") == (1, 4, [2])
    for report in reports[1:]:
        pd.testing.assert_frame_equal(report, reports[0])
    drawn_again = [([0, 1, 0], [2, 4, 2, -3, -1]), splits[1]]  # as a bootstrap does
    pd.testing.assert_frame_equal(text_report(texts, cv=drawn_again), reports[0])


@pytest.mark.filterwarnings("error")
def test_groups_beside_a_number_of_folds_are_no_warning():
    """Groups may be there to be looked at, and a number of folds has no use for them."""
    report = text_report(["a", "b", "a", "b"], [0, 1, 0, 1], groups=[0, 0, 1, 1], cv=2)
    assert numbers(report, "identical across splits")[:2] == (4, 4)


def test_rows_without_a_label_take_no_part_in_a_splitters_splits():
    """An int and a splitter get the labelled rows; the rows of given splits are taken as they are."""
    texts, y = ["a", "a", "b", "b", "a", "c", "c"], ["p", None, "q", "p", "q", "q", "p"]
    labelled = [0, 2, 3, 4, 5, 6]
    splits = [
        (np.array(labelled)[train], np.array(labelled)[test])
        for train, test in StratifiedKFold(3).split(labelled, [y[row] for row in labelled])
    ]
    expected = sum(map(len, leaks(texts, splits, texts)))
    assert expected > 0
    for cv in (3, StratifiedKFold(3), splits):
        assert numbers(text_report(texts, y, cv=cv), "identical across splits")[:2] == (expected, 6)
    groups = [0, 0, 1, 1, 0, 2, 2]
    assert numbers(text_report(texts, y, groups=groups, cv=GroupKFold(3)), "identical across splits")[:2] == (0, 6)
    with_missing = text_report(texts, y, cv=[([0], [1])])
    assert numbers(with_missing, "identical across splits") == (1, 1, [1])


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_weights(monkeypatch):
    """Fail where a model is loaded or an encoder asked for."""

    def refuse(*args, **kwargs):
        pytest.fail("A model was loaded.")

    monkeypatch.setattr(loading, "load_model", refuse)
    monkeypatch.setattr(registry, "get_encoder", refuse)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", refuse)


def plain_counts(folder, texts, max_length, prompt=""):
    """Return rows and tokens that are cut, rows and number of unknown pieces, and all pieces, by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cut_rows, cut, unknown_rows, unknown, pieces, longest = [], 0, [], 0, 0, 0
    for row, text in enumerate(texts):
        if text is None:
            continue
        sides = (prompt + text,) if isinstance(text, str) else (prompt + text[0], text[1])
        whole = tokenizer(*sides, truncation=False)["input_ids"]
        special = tokenizer.num_special_tokens_to_add(pair=len(sides) == 2)
        kept = tokenizer(*sides, truncation=True, max_length=max_length)["input_ids"]
        longest = max(longest, len(whole))
        pieces += len(whole) - special
        cut += len(whole) - len(kept)
        cut_rows += [row] * (len(whole) > len(kept))
        unknown += whole.count(tokenizer.unk_token_id)
        unknown_rows += [row] * (tokenizer.unk_token_id in whole)
    return {
        "longest text, in tokens": longest,
        "texts cut": (len(cut_rows), cut_rows),
        "tokens cut": (cut, pieces),
        "unknown pieces": (unknown, pieces, unknown_rows),
    }


def token_counts(report):
    """Return the same from a report."""
    texts, tokens, unknown = (numbers(report, name) for name in ("texts cut", "tokens cut", "unknown pieces"))
    assert tokens[2] == texts[2]
    return {
        "longest text, in tokens": numbers(report, "longest text, in tokens")[0],
        "texts cut": (texts[0], texts[2]),
        "tokens cut": tokens[:2],
        "unknown pieces": unknown,
    }


TWEETS = [
    "a bad debate 😀 日本 again",
    "who won",
    None,
    "",
    "well said " * 40,
    "who won",
    "the economy and jobs " * 5,
    "☃",
]
PAIRED = [("who won the debate", "nobody 😀"), ("a " * 40, "b " * 9), None, ("", "c"), ("so", "to " * 70)]


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "modernbert", "mpnet", "deberta-v2"])
@pytest.mark.parametrize("texts", [TWEETS, PAIRED], ids=["texts", "pairs"])
@pytest.mark.parametrize(("max_length", "prompt"), [(None, None), (12, "about: ")])
def test_tokens_are_those_of_transformers(tiny_model, family, texts, max_length, prompt):
    """What is cut and what is unknown is what transformers' own tokenizer says, and no weights are loaded."""
    folder = tiny_model(family)
    report = text_report(texts, embedder=BertEmbedder(folder, max_length=max_length, prompt=prompt))
    expected = plain_counts(folder, texts, max_length or 64, prompt or "")
    assert token_counts(report) == expected
    assert expected["tokens cut"][0] > 0
    if family in ("roberta", "modernbert"):
        assert expected["unknown pieces"][0] == 0  # pieces of bytes leave nothing unknown
    elif family == "bert":
        assert expected["unknown pieces"][0] > 0


@pytest.mark.usefixtures("no_weights")
def test_tokens_in_portions_and_of_copies(tiny_bert_folder, monkeypatch):
    """Portions of texts give the numbers of all at once; copies count each time."""
    embedder = BertEmbedder(tiny_bert_folder, max_length=8)
    whole = text_report(TWEETS * 20, embedder=embedder)
    assert token_counts(whole) == plain_counts(tiny_bert_folder, TWEETS * 20, 8)
    monkeypatch.setattr("skbert._embedder.counting._TEXTS", 3)
    pd.testing.assert_frame_equal(text_report(TWEETS * 20, embedder=embedder), whole)
    monkeypatch.setattr("skbert._embedder.counting._CHARS", 1)
    pd.testing.assert_frame_equal(text_report(PAIRED, embedder=embedder), text_report(PAIRED, embedder=embedder))
    assert token_counts(text_report(PAIRED, embedder=embedder)) == plain_counts(tiny_bert_folder, PAIRED, 8)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("policy", ["warn", "truncate", "error", "head_tail", "chunk"])
def test_chunks_cut_nothing(tiny_bert_folder, policy):
    """Of single texts chunks read every token; the other policies lose what lies beyond the limit."""
    report = text_report(TWEETS, embedder=BertEmbedder(tiny_bert_folder, max_length=8, long_texts=policy))
    cut = plain_counts(tiny_bert_folder, TWEETS, 8)["tokens cut"][0]
    assert numbers(report, "tokens cut")[0] == (0 if policy == "chunk" else cut)


@pytest.mark.usefixtures("no_weights")
def test_the_embedder_is_found_where_it_is(tiny_bert_folder):
    """In a classifier, in pipelines within pipelines; texts go through the steps before it."""
    embedder = BertEmbedder(tiny_bert_folder, max_length=8)
    raw = token_counts(text_report(TWEETS, embedder=embedder))
    for holder in (
        BertSentimentClassifier(embedder),
        make_pipeline(embedder, LogisticRegression()),
        Pipeline([("none", "passthrough"), ("model", make_pipeline(BertSentimentClassifier(embedder)))]),
    ):
        assert token_counts(text_report(TWEETS, embedder=holder)) == raw
    cleaned = TextCleaner(emoji="drop").transform(TWEETS)
    expected = token_counts(text_report(cleaned, embedder=embedder))
    assert expected["unknown pieces"] != raw["unknown pieces"]
    nested = make_pipeline(make_pipeline(TextCleaner(emoji="drop"), "passthrough"), make_pipeline(embedder))
    assert token_counts(text_report(TWEETS, embedder=nested)) == expected


def test_a_fitted_classifier_counts_as_it_was_fitted(tiny_bert_folder):
    """Its own max_length counts, whatever has been set since."""
    classifier = BertSentimentClassifier(
        BertEmbedder(tiny_bert_folder, max_length=8), hidden_layer_sizes=(), max_iter=1, early_stopping=False
    )
    classifier.fit(["who won", "nobody"], [0, 1]).set_params(embedder__max_length=60)
    assert token_counts(text_report(TWEETS, embedder=classifier)) == plain_counts(tiny_bert_folder, TWEETS, 8)


def test_nothing_global_is_touched_and_nothing_is_printed(global_state, tiny_bert_folder, capsys):
    """Neither the network, nor random state, nor output, nor what was passed in."""
    X, y = load_sample_tweets(return_X_y=True)
    before = X.copy(), y.copy()
    embedder = BertEmbedder(tiny_bert_folder)
    params = embedder.get_params()
    text_report(X, y, cv=StratifiedKFold(3, shuffle=True, random_state=0), embedder=embedder)
    global_state.assert_unchanged()
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert embedder.get_params() == params
    assert not [name for name in vars(embedder) if name.endswith("_")]


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"y": [1]}, r"'y' parameter of text_report must have one label for each of the 3 rows of X\. Got 1 instead"),
        ({"groups": range(4)}, r"'groups' .* must have one group for each of the 3 rows of X\. Got 4 instead"),
        ({"y": "abc"}, r"'y' parameter of text_report must be None or an array-like .* Got 'abc' instead"),
        ({"y": 3}, "'y' parameter .* Got 3 instead"),
        ({"y": np.zeros((3, 2))}, "'y' parameter .* must be None or an array-like with one label"),
        ({"y": [["a"], ["b"], ["c"]]}, r"'y' parameter .* Got \['a'\] in row 0 instead"),
        ({"cv": 1}, r"'cv' parameter of text_report must be None, an int from 2 up, .* Got 1 instead"),
        ({"cv": True}, "'cv' parameter .* Got True instead"),
        ({"cv": "5"}, "'cv' parameter .* Got '5' instead"),
        ({"cv": 2.5}, "'cv' parameter .* Got 2.5 instead"),
        ({"cv": {}}, "'cv' parameter .* Got {} instead"),
        ({"cv": []}, r"'cv' parameter .* must give one split at least\. Got \[\] instead"),
        ({"cv": [[0, 1, 2]]}, r"must be pairs of row numbers, .* Got \[0, 1, 2\] in split 0 instead"),
        ({"cv": [([0], [1]), 7]}, "must be pairs of row numbers, .* Got 7 in split 1 instead"),
        ({"cv": [([0], [3])]}, r"must hold row numbers below 3, .* Got \[3\] in split 0 instead"),
        ({"cv": [([-4], [0])]}, "must hold row numbers below 3"),
        ({"cv": [(["a"], [0])]}, "must hold row numbers where it is an iterable"),
        ({"cv": [([True], [0])]}, "must hold row numbers where it is an iterable"),
        (
            {"embedder": "all-MiniLM-L6-v2"},
            "'embedder' parameter of text_report must be None, a BertEmbedder.* Got 'all",
        ),
        ({"embedder": make_pipeline(LogisticRegression())}, "'embedder' parameter .* Got Pipeline"),
        ({"embedder": BertEmbedder}, "'embedder' parameter .* Got <class"),
        ({"embedder": BertEmbedder(layers=0.5)}, "'layers' parameter of BertEmbedder must be"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    """A wrong parameter is an error that names it, what it must be, and what it is."""
    with pytest.raises(InvalidParameterError, match=message):
        text_report(["a", "b", "c"], **params)


@pytest.mark.parametrize("special", [2, 3])
def test_no_room_for_a_token(tiny_bert_folder, special):
    """A limit that leaves no room beside the special tokens is refused, as it is when texts are embedded."""
    X = ["a"] if special == 2 else [("a", "b")]
    embedder = BertEmbedder(tiny_bert_folder, max_length=3)
    if special == 2:
        assert numbers(text_report(X, embedder=embedder), "texts cut")[0] == 0
        return
    with pytest.raises(InvalidParameterError, match="must be greater than 3") as ours:
        text_report(X, embedder=embedder)
    with pytest.raises(InvalidParameterError) as theirs:
        embedder.transform(X)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("one text", "Iterable over raw text documents expected"),
        ([], "minimum of 1 is required by text_report"),
        ([1, 2], "text_report takes texts, but row 0 of X is of type int"),
        (pd.DataFrame({"a": ["x"], "b": ["y"], "c": [1]}), r"got 3 columns: \['a', 'b', 'c'\].*alone: X\['a'\]"),
        (np.array([["x", "y", "z"]]), r"got 3 columns.*alone: X\[:, 0\]"),
        (pd.DataFrame({"a": ["x"], "b": [1]}), r"sentence pairs, but row 0 of 'b'.*alone: X\['a'\]"),
    ],
)
def test_what_is_no_text_is_refused(X, message):
    """X is refused as the embedder refuses it, with what a report can do about it."""
    with pytest.raises(TextInputError, match=message) as error:
        text_report(X)
    assert "ColumnTransformer" not in str(error.value)


def test_errors_of_a_splitter_pass_through():
    """What scikit-learn says about a split is said in its words."""
    with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
        text_report(["a", "b"], cv=GroupKFold(2))
    with pytest.raises(ValueError, match="n_splits=3 cannot be greater than the number of members"):
        text_report(["a", "b", "c", "d"], [0, 1, 0, 1], cv=3)


def test_a_step_that_gives_no_texts_is_refused(tiny_bert_folder):
    """What a pipeline gives its embedder has to be texts."""
    pipe = make_pipeline(TfidfVectorizer().fit(["a word"]), BertEmbedder(tiny_bert_folder))
    with pytest.raises(TextInputError, match="Sparse data was passed"):
        text_report(["a word"], embedder=pipe)


# -- the frame ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    """Return a report with everything but tokens."""
    X, y = load_sample_tweets(return_X_y=True)
    return text_report([*X, None, ""], [*y, "odd", None], groups=range(len(X) + 2), cv=SPLITS)


def test_it_is_a_data_frame(report):
    """Columns, dtypes and index are what programs count on; a share is the count by all there are."""
    assert isinstance(report, pd.DataFrame)
    assert list(report.columns) == ["count", "of", "share", "unit", "rows", "advice"]
    assert [str(report[name].dtype) for name in ("count", "of", "share")] == ["int64", "Int64", "float64"]
    assert report.index.is_unique
    for _, (count, of, share, *_) in report.iterrows():
        assert (pd.isna(of) and pd.isna(share)) or share == count / of
    assert all(isinstance(row, int) for rows in report["rows"] for row in rows)
    assert all(list(rows) == sorted(set(rows)) for rows in report["rows"])


def test_operations_are_those_of_a_data_frame(report):
    """Copies, pickles, parts, joins and files of a report hold what those of a plain DataFrame hold."""
    columns = {name: pd.Series(report[name].tolist(), dtype=report[name].dtype) for name in report}
    plain = pd.DataFrame(columns).set_index(report.index)
    for twin in (report.copy(), copy.copy(report), copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
        pd.testing.assert_frame_equal(pd.DataFrame(twin), plain)
        np.testing.assert_array_equal(twin.groups, report.groups)
        assert str(twin) == str(report)
    assert report.to_csv() == plain.to_csv()
    assert report.to_html() == plain.to_html()
    read = pd.read_csv(io.StringIO(report.to_csv()), index_col=0)
    assert read["count"].tolist() == plain["count"].tolist()
    for operation in (
        lambda frame: frame[["count", "of"]],
        lambda frame: frame.T,
        lambda frame: frame[frame["count"] > 0],
        lambda frame: frame.iloc[:0],
        lambda frame: frame.reset_index(),
        lambda frame: pd.concat([frame, frame]),
        lambda frame: frame.groupby("unit")["count"].sum(),
        lambda frame: frame.assign(more=1).drop(columns="rows"),
        lambda frame: frame.rename(columns={"count": "n"}),
    ):
        ours, theirs = operation(report), operation(plain)
        assert ours.equals(theirs)
        assert str(ours)
        if isinstance(ours, pd.DataFrame):
            assert ours._repr_html_()
    assert str(report[["count", "of"]]) == str(plain[["count", "of"]])
    assert str(report.T) == str(plain.T)


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.astype(str),
        lambda report: report.map(str),
        lambda report: report.assign(share=report["share"].map("{:.1%}".format)),
        lambda report: report.isna(),
        lambda report: report == report,
    ],
)
def test_what_is_no_report_any_more_prints_as_a_frame(report, change):
    """A frame with the report's columns and other things in them is shown as pandas shows it."""
    changed = change(report)
    plain = pd.DataFrame(changed)
    assert repr(changed) == repr(plain)
    assert changed._repr_html_() == plain._repr_html_()


def test_the_print_out_is_a_small_table(report, tiny_bert_folder):
    """It fits into 100 columns, is aligned, has each finding on its line, and below what to do."""
    X = ["a text"] * 9
    for shown in (report, report[report["count"] > 0], text_report(X, embedder=BertEmbedder(tiny_bert_folder))):
        lines = str(shown).split("\n")
        assert max(map(len, lines)) <= 100
        assert repr(shown) == str(shown)
        for name, line in zip(shown.index, lines[1:], strict=False):
            assert line.startswith(name)
            assert f"{shown.loc[name, 'count']:,}" in line
        ends = {re.match(r".*?  +[\d,]+(?=  |$)", line).end() for line in lines[1 : len(shown) + 1]}
        assert len(ends) == 1
        told = " ".join(str(shown).split())
        assert all(advice in told for advice in shown["advice"])


def test_large_numbers_fit_too():
    """Counts of millions leave less room for row numbers, not a wider table."""
    report = text_report(["a", "a"], [0, 1], groups=[0, 1], cv=[([0], [1])])
    report["count"] = 123_456_789
    report["of"] = 987_654_321
    report["rows"] = [(123_456_789, 234_567_890, 345_678_901, 456_789_012)] * len(report)
    assert max(map(len, str(report).split("\n"))) <= 100


def test_many_classes_are_shown_in_part_and_are_all_there():
    """The frame has every class; the table shows twelve and how many more there are."""
    report = text_report([f"text {k}" for k in range(200)], [k % 50 for k in range(200)])
    assert sum(name.startswith("class ") for name in report.index) == 50
    for shown in (str(report), report._repr_html_()):
        assert "… and 38 more classes" in shown
        assert len(re.findall(r"class \d+", shown)) == 12


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_nothing_of_the_users_data_is_markup():
    """Labels that look like HTML, or like commands to a terminal, are shown as what they are, in one line."""
    evil = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\x1b[31mred\n\nlabel", "&lt;b&gt;"]
    report = text_report(["<b>x</b>", "y", "z", "<b>x</b>"], evil, cv=[([0, 1], [2, 3])])
    page = Tags()
    page.feed(report._repr_html_())
    assert {tag[0] for tag in page.tags} <= {"div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "b"}
    assert not any("onerror" in tag or "src" in tag for tag in page.tags)
    assert "class <script>alert(1)</script>" in page.text
    assert "class &lt;b&gt;" in page.text
    assert "<i>" not in report.assign(unit="<i>")._repr_html_()
    assert not {"\x1b", "\x00"} & set(str(report))
    assert len(str(report).split("\n\n")[0].split("\n")) == len(report) + 1
    with pd.option_context("display.notebook_repr_html", False):
        assert report._repr_html_() is None


def test_advice_is_there_where_there_is_something_to_do(report):
    """A clean table needs none; what is found gets a sentence, which names scikit-learn's way where it has one."""
    clean = text_report(["a b", "c d", "e f", "g h"], [0, 1, 0, 1], groups=[0, 1, 2, 3], cv=2)
    assert not clean["advice"].any()
    advice = report["advice"]
    for name in ("missing texts", "empty texts", "missing labels", "classes with one text", "conflicting labels"):
        assert advice[name], name
    assert "class_weight='balanced_sqrt'" in text_report(list("abcde"), [0, 0, 0, 0, 1]).loc["classes", "advice"]
    assert "80.0%" in text_report(list("abcde"), [0, 0, 0, 0, 1]).loc["classes", "advice"]
    assert "one class only" in text_report(["a"], [0]).loc["classes", "advice"]
    assert "StratifiedGroupKFold().split(X, y, report.groups)" in advice["near-identical across splits"]
    assert (
        "GroupKFold().split(X, groups=report.groups)" in text_report(["a", "a"]).loc["near-identical texts", "advice"]
    )
    assert "75.0%" in text_report(["a", "a", "a", "b"], [0, 0, 1, 1]).loc["conflicting labels", "advice"]
    assert "report.groups" in advice["near-identical across groups"]


def test_shares_say_nothing_that_is_not_so():
    """Little is not nothing, and nearly all is not all."""
    X = [f"text {k}" for k in range(5_000)]
    lines = str(text_report([*X, None])).split("\n")
    assert "<0.1%" in next(line for line in lines if line.startswith("missing"))
    assert ">99.9%" in next(line for line in lines if line.startswith("different"))
    assert " 0.0%" in next(line for line in lines if line.startswith("empty"))


def test_it_is_public():
    """The package has it, and the name of its class is one that pickles can go by for long."""
    assert skbert.text_report is text_report
    assert type(text_report(["a"])).__module__ == "skbert._report"


@pytest.mark.data
def test_real_tweets(data_folder, minilm):
    """13,871 tweets: 10,402 different, none missing, 131 with conflicting labels; fair splits by the groups."""
    X, y = load_gop_debate(data_folder, return_X_y=True)
    report = text_report(X, y, cv=5, embedder=BertEmbedder(minilm))
    expected = {"texts": 13_871, "missing texts": 0, "empty texts": 0, "different texts": 10_402, "missing labels": 0}
    expected |= {"identical texts": 3_469, "near-identical texts": 4_702, "conflicting labels": 131, "texts cut": 0}
    expected |= {"class negative": 8_493, "class neutral": 3_142, "class positive": 2_236}
    assert report.loc[list(expected), "count"].to_dict() == expected
    frame = pd.DataFrame({"text": X, "label": y})
    assert numbers(report, "identical texts")[2] == np.flatnonzero(frame["text"].duplicated()).tolist()
    at_odds = frame.groupby("text")["label"].transform("nunique") > 1
    assert numbers(report, "conflicting labels")[2] == np.flatnonzero(at_odds).tolist()
    splits = StratifiedKFold(5).split(X, y)
    assert numbers(report, "identical across splits")[0] == sum(map(len, leaks(X, splits, X)))
    fair = text_report(X, y, groups=report.groups, cv=StratifiedGroupKFold())
    assert fair.filter(like="across", axis=0)["count"].sum() == 0
