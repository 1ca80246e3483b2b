"""The data sets: what a loader returns, what the sample tweets are like, what a wrong file is told."""

from __future__ import annotations

import csv
import doctest
import importlib
import inspect
import io
import itertools
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold
from sklearn.utils import Bunch

import skbert.datasets
from skbert.datasets import load_gop_debate, load_sample_tweets
from skbert.exceptions import InvalidParameterError

SENTIMENTS = ["negative", "neutral", "positive"]
COLUMNS = [
    *("id", "candidate", "candidate_confidence", "relevant_yn", "relevant_yn_confidence", "sentiment"),
    *("sentiment_confidence", "subject_matter", "subject_matter_confidence", "candidate_gold", "name"),
    *("relevant_yn_gold", "retweet_count", "sentiment_gold", "subject_matter_gold", "text", "tweet_coord"),
    *("tweet_created", "tweet_id", "tweet_location", "user_timezone"),
]
# Hard ones: a line break, quotes and commas, words that pandas would take for missing values, nothing but digits.
ROWS = [
    ("RT @a_made_up_handle_of_ours: nothing to see here…", "Negative"),
    ("NA", "Neutral"),
    ('so, "that"\nwas it', "Positive"),
    ("2016", "Neutral"),
    ("  blanks at both ends ", "Negative"),
    ("🎉 null", "Positive"),
]


def write_csv(file: Path, rows: list[tuple[str, str]] = ROWS, columns: list[str] = COLUMNS) -> Path:
    """Write a file in the published form, with invented rows."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for number, (text, sentiment) in enumerate(rows, start=1):
        writer.writerow(
            {"id": number, "candidate": "", "sentiment_confidence": 0.5, "text": text, "sentiment": sentiment}
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(out.getvalue(), encoding="utf-8", newline="")
    return file


@pytest.fixture
def gop_file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "gop_debate" / "Sentiment.csv")


@pytest.fixture(scope="module")
def tweets() -> pd.DataFrame:
    return load_sample_tweets(as_frame=True).frame


@pytest.fixture(scope="module")
def different(tweets: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(tweets["text"]))


# What a loader returns


@pytest.fixture(params=["sample_tweets", "gop_debate"])
def load(request: pytest.FixtureRequest, gop_file: Path):
    """Each of the two loaders, without what it needs beside the flags."""
    if request.param == "sample_tweets":
        return load_sample_tweets
    return lambda **flags: load_gop_debate(gop_file, **flags)


def test_bunch_of_arrays(load):
    """Without as_frame: object arrays of str, no frame, the sorted labels, a description."""
    bunch = load()
    assert isinstance(bunch, Bunch)
    for values in (bunch.data, bunch.target):
        assert isinstance(values, np.ndarray)
        assert values.dtype == object
        assert values.shape == (len(bunch.data),)
        assert {type(value) for value in values} == {str}
    assert bunch.frame is None
    assert bunch.target_names == SENTIMENTS == np.unique(bunch.target).tolist()
    assert len(bunch.DESCR) > 500
    assert isinstance(bunch.filename, str)


def test_bunch_of_frames(load):
    """With as_frame: Series named like the frame's columns, equal to them and to the arrays."""
    arrays, bunch = load(), load(as_frame=True)
    assert isinstance(bunch.frame, pd.DataFrame)
    for series, name, array in ((bunch.data, "text", arrays.data), (bunch.target, "sentiment", arrays.target)):
        assert isinstance(series, pd.Series)
        assert series.name == name
        pd.testing.assert_series_equal(series, bunch.frame[name])
        assert series.tolist() == array.tolist()
    assert set(bunch) == set(arrays)


@pytest.mark.parametrize("as_frame", [False, True])
def test_return_X_y(load, as_frame):
    """return_X_y gives data and target of the Bunch, as a plain tuple."""
    bunch, both = load(as_frame=as_frame), load(as_frame=as_frame, return_X_y=True)
    assert type(both) is tuple
    for value, expected in zip(both, (bunch.data, bunch.target), strict=True):
        assert type(value) is type(expected)
        assert value.tolist() == expected.tolist()


@pytest.mark.parametrize("as_frame", [False, True])
def test_calls_share_nothing(load, as_frame):
    """What a caller changes is not seen by the next one."""
    first = load(as_frame=as_frame)
    kept = first.data.tolist()
    first.data[0] = first.target[0] = "changed"
    first.target_names.append("changed")
    second = load(as_frame=as_frame)
    assert second.data.tolist() == kept
    assert second.target_names == SENTIMENTS
    assert "changed" not in second.target.tolist()


@pytest.mark.parametrize("as_frame", [False, True])
def test_splits_by_text(load, as_frame):
    """Both forms go through scikit-learn's group splitters with the texts as groups."""
    X, y = load(as_frame=as_frame, return_X_y=True)
    train, test = next(GroupShuffleSplit(n_splits=1, test_size=0.4, random_state=0).split(X, y, groups=X))
    texts = np.asarray(X, dtype=object)
    assert not set(texts[train]) & set(texts[test])


@pytest.mark.parametrize("name", ["as_frame", "return_X_y"])
@pytest.mark.parametrize("value", [1, "True", None])
@pytest.mark.parametrize("loader", [load_sample_tweets, load_gop_debate])
def test_flags_must_be_bool(loader, name, value):
    message = f"The '{name}' parameter of {loader.__name__} must be a bool. Got {value!r} instead."
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(message)}$"):
        loader(**{name: value})


def test_flags_are_keyword_only():
    assert str(inspect.signature(load_sample_tweets)).startswith(
        "(*, as_frame: 'bool' = False, return_X_y: 'bool' = Fal"
    )
    with pytest.raises(TypeError, match="positional"):
        load_gop_debate(None, True)


def test_public_names():
    """The sub-package has two public names."""
    assert skbert.datasets.__all__ == ["load_gop_debate", "load_sample_tweets"]


@pytest.mark.parametrize("name", ["_sample_tweets", "_gop_debate"])
def test_examples_run(name):
    failed, tried = doctest.testmod(importlib.import_module(f"skbert.datasets.{name}"))
    assert tried
    assert not failed


def test_loads_from_a_zip(tmp_path):
    """The sample is read through importlib.resources, and the room imports nothing of skbert but exceptions."""
    package = Path(skbert.datasets.__file__).parents[1]
    files = [file for file in (package / "datasets").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    archive = tmp_path / "skbert.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("skbert/__init__.py", "")
        for file in (package / "exceptions.py", *files):
            out.write(file, Path("skbert") / file.relative_to(package))
    code = "from skbert.datasets import load_sample_tweets as f; b = f(); print(f.__code__.co_filename, len(b.data))"
    where = os.pathsep.join([str(archive), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": where},
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(archive / "skbert" / "datasets" / "_sample_tweets.py"), "538"]


# What the sample tweets are like


def test_sample_counts(tweets):
    """The numbers that the docstring and the description give."""
    assert tweets.shape == (538, 3)
    assert tweets.columns.tolist() == ["id", "text", "sentiment"]
    assert tweets["id"].tolist() == list(range(1, 539))
    assert Counter(tweets["sentiment"]) == {"negative": 239, "neutral": 160, "positive": 139}
    assert tweets["text"].nunique() == 519
    for place in (load_sample_tweets.__doc__, load_sample_tweets().DESCR):
        for number in ("538", "519", "239", "160", "139"):
            assert number in place


def test_sample_file_is_utf8_with_plain_line_ends():
    """The file is found by what the Bunch says of it."""
    bunch = load_sample_tweets()
    raw = resources.files(bunch.data_module).joinpath(bunch.filename).read_bytes()
    assert b"\r" not in raw
    assert not raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8"), newline="")))
    assert [row["text"] for row in rows] == bunch.data.tolist()
    assert [row["sentiment"] for row in rows] == bunch.target.tolist()


def test_sample_has_few_copies_and_fewer_conflicts(tweets):
    labels = tweets.groupby("text")["sentiment"].agg(list)
    copied = labels[labels.map(len) > 1]
    assert len(tweets) - len(labels) == 19
    assert len(copied) == 17
    assert sum(len(set(found)) > 1 for found in copied) == 3


def test_sample_lengths(different):
    """No text is empty, none is longer than 280 characters, and both ends of the range are there."""
    lengths = np.array([len(text.strip()) for text in different])
    assert lengths.min() >= 1
    assert lengths.max() <= 280
    assert (lengths < 20).sum() >= 10
    assert (lengths > 200).sum() >= 5
    assert 90 < np.median(lengths) < 130


@pytest.mark.parametrize(
    ("kind", "pattern", "at_least"),
    [
        ("retweet mark", r"^RT @\w+: ", 60),
        ("handle", r"@\w", 90),
        ("tag", r"#\w", 200),
        ("link", r"https?://", 35),
        ("HTML entity", r"&(amp|lt|gt|quot);", 18),
        ("emoji", "[\U0001f300-\U0001faff]", 60),
        ("elongated word", r"([A-Za-z])\1\1", 10),
        ("word in capitals", r"\b[A-Z]{4,}\b", 30),
        ("cut end", r"…$", 10),
        ("number", r"\d", 150),
        ("percentage", r"\d\s?%", 3),
        ("time of day", r"\b\d{1,2}(:\d\d)? ?(am|pm|a\.m\.|p\.m\.)|\b\d{1,2}:\d\d\b", 15),
        ("question", r"\?", 50),
        ("repeated punctuation", r"!!|\?\?", 20),
        ("broken encoding", r"â€|Ã.", 6),
        ("letters beyond ASCII", r"[^\W\d_A-Za-z]", 8),
        ("line break", r"\n", 5),
        (
            "misspelling",
            r"(?i)\b(didnt|dont|doesnt|isnt|thats|ive|embarassed|allready|maners|painfull|shouldve|ppl)\b",
            12,
        ),
        ("starts in lower case", r"^[a-z]", 60),
    ],
)
def test_sample_has_the_noise_of_tweets(different, kind, pattern, at_least):
    found = sum(bool(re.search(pattern, text)) for text in different)
    assert found >= at_least, f"{kind}: {found} texts"


def test_sample_is_no_template(different):
    """No two different texts share a third of the shorter one's word trigrams; links and handles don't count."""
    grams = []
    for text in different:
        words = re.findall(r"[\w']+", re.sub(r"https?://\S+|[@#]\w+", " ", text.lower()))
        grams.append(set(zip(words, words[1:], words[2:], strict=False)))
    holders = defaultdict(list)
    for row, found in enumerate(grams):
        for gram in found:
            holders[gram].append(row)
    shared = Counter(pair for rows in holders.values() for pair in itertools.combinations(rows, 2))
    alike = [(different[a], different[b]) for (a, b), n in shared.items() if n > min(len(grams[a]), len(grams[b])) / 3]
    assert alike == []


def test_sample_openings_differ(different):
    """Hardly two texts start with the same three words; the retweet mark doesn't count."""
    starts = Counter(" ".join(re.findall(r"[\w']+", re.sub(r"^RT @\w+: ", "", text).lower())[:3]) for text in different)
    assert max(starts.values()) <= 2
    assert sum(n > 1 for n in starts.values()) <= 5


def test_sample_names_nobody_real(different):
    """Handles are longer than Twitter allows (15), so that they can be nobody's; links lead to reserved names."""
    joined = "\n".join(different)
    handles = set(re.findall(r"@(\w+)", joined))
    assert [handle for handle in handles if len(handle) < 16] == []
    hosts = set(re.findall(r"https?://([^/\s]+)", joined))
    assert hosts <= {"t.example", "example.com", "example.org", "example.net"}


def test_sample_folds_hold_every_label():
    """Five folds by text are near the balance of the whole."""
    X, y = load_sample_tweets(return_X_y=True)
    for _, test in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(X, y, groups=X):
        assert min(Counter(y[test])[label] for label in SENTIMENTS) >= 20


# The real file


def test_gop_reads_texts_and_labels(gop_file):
    """Texts come as they stand, whatever pandas would make of them; labels come in lower case."""
    bunch = load_gop_debate(gop_file, as_frame=True)
    assert bunch.data.tolist() == [text for text, _ in ROWS]
    assert bunch.target.tolist() == [sentiment.lower() for _, sentiment in ROWS]
    assert bunch.frame.columns.tolist() == COLUMNS
    assert bunch.frame["candidate"].isna().all()
    assert bunch.filename == str(gop_file)
    assert "CC BY-NC-SA 4.0" in bunch.DESCR


def test_gop_path_may_be_file_or_folder(gop_file, monkeypatch):
    """A file of any name, its folder, the folder above, each as str or Path."""
    renamed = write_csv(gop_file.with_name("my tweets.csv"))
    for path in (gop_file, renamed, gop_file.parent, gop_file.parents[1]):
        for form in (path, str(path)):
            assert len(load_gop_debate(form).data) == len(ROWS)
    monkeypatch.setenv("HOME", str(gop_file.parent))
    monkeypatch.setenv("USERPROFILE", str(gop_file.parent))
    assert len(load_gop_debate("~/Sentiment.csv").data) == len(ROWS)


def test_gop_path_defaults_to_the_environment(gop_file, monkeypatch):
    monkeypatch.setenv("SKBERT_DATA", str(gop_file.parents[1]))
    assert load_gop_debate().filename == str(gop_file)


def test_gop_path_wins_over_the_environment(gop_file, tmp_path, monkeypatch):
    monkeypatch.setenv("SKBERT_DATA", str(tmp_path / "nowhere"))
    assert load_gop_debate(gop_file).filename == str(gop_file)


@pytest.mark.parametrize("value", [None, ""])
def test_gop_without_a_path_says_where_the_file_is(value, monkeypatch):
    monkeypatch.delenv("SKBERT_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("SKBERT_DATA", value)
    with pytest.raises(FileNotFoundError, match=r"no path, and .* SKBERT_DATA is not set") as caught:
        load_gop_debate()
    for said in (
        "https://www.kaggle.com/",
        "CrowdFlower",
        "CC BY-NC-SA 4.0",
        "load_gop_debate('some/folder/Sentiment.csv')",
    ):
        assert said in str(caught.value)


def test_gop_path_that_is_not_there(tmp_path, monkeypatch):
    absent = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=rf"path='{re.escape(str(absent))}' names no file .*kaggle"):
        load_gop_debate(absent)
    monkeypatch.setenv("SKBERT_DATA", str(absent))
    with pytest.raises(FileNotFoundError, match=r"environment variable SKBERT_DATA='.*' names no file"):
        load_gop_debate()


def test_gop_folder_without_the_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"holds neither 'Sentiment.csv' nor 'gop_debate.Sentiment.csv'.*kaggle"
    ):
        load_gop_debate(tmp_path)


@pytest.mark.parametrize("path", [3, "", b"Sentiment.csv", ["Sentiment.csv"], True])
def test_gop_path_of_a_wrong_type(path):
    message = (
        f"The 'path' parameter of load_gop_debate must be a non-empty str, a path-like or None. Got {path!r} instead."
    )
    with pytest.raises(InvalidParameterError, match=f"^{re.escape(message)}$"):
        load_gop_debate(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n\r\n", "is empty"),
        ("id,text\n1,café\n".encode("latin-1"), "is not UTF-8: byte 13 is 0xe9"),
        (b"PK\x03\x04rest", "is a zip archive or a spreadsheet; unpack it"),
        (b"\x1f\x8brest", "is compressed with gzip"),
        (b"SQLite format 3\x00rest", "is an SQLite database"),
        (b"PAR1rest", "is a Parquet file"),
        (b'a,b\n1,"open\n', "cannot be read as CSV"),
        (b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV: .*Expected 2 fields in line 3, saw 3"),
        (b"a,b\n1,2,3\n", "rows with more fields than its header has columns .2.*double quotes"),
        (b"just some words\n", "lacks 21 of the 21 columns .*Is it another file, or one without its header"),
        (b"id;text;sentiment\n1;a;Negative\n", "separated by semicolons; they must be separated by commas"),
        (b"id\ttext\tsentiment\n1\ta\tNegative\n", "separated by tabs; they must"),
        ((",".join(COLUMNS) + "\n").encode(), "has a header, but no rows"),
    ],
)
def test_gop_file_that_is_no_such_csv(tmp_path, content, message):
    file = tmp_path / "Sentiment.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)^load_gop_debate: '{re.escape(str(file))}' .*{message}"):
        load_gop_debate(file)


def test_gop_reads_a_file_with_a_byte_order_mark(gop_file):
    gop_file.write_bytes(b"\xef\xbb\xbf" + gop_file.read_bytes())
    assert load_gop_debate(gop_file, as_frame=True).frame.columns[0] == "id"


def test_gop_names_the_columns_that_are_missing(tmp_path):
    file = write_csv(tmp_path / "Sentiment.csv", columns=[c for c in COLUMNS if c not in ("text", "tweet_id")])
    with pytest.raises(
        ValueError, match=r"lacks 2 of the 21 columns of Sentiment.csv: 'text', 'tweet_id'\. It has 'id', "
    ):
        load_gop_debate(file)


def test_gop_hints_at_columns_in_another_case(gop_file):
    content = gop_file.read_text(encoding="utf-8")
    gop_file.write_text(
        content.replace(",sentiment,", ",Sentiment,", 1).replace(",text,", ", TEXT,", 1), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="rename 'Sentiment' to 'sentiment', ' TEXT' to 'text'"):
        load_gop_debate(gop_file)


def test_gop_takes_further_columns_and_any_order(gop_file):
    frame = pd.read_csv(gop_file, keep_default_na=False)
    frame.assign(mine=1)[["mine", *reversed(COLUMNS)]].to_csv(gop_file, index=False)
    assert load_gop_debate(gop_file).data.tolist() == [text for text, _ in ROWS]


def test_gop_names_the_rows_without_a_text(tmp_path):
    rows = [*ROWS[:2], ("", "Neutral"), ROWS[0], ("  \n ", "Negative")]
    with pytest.raises(ValueError, match=r"2 row\(s\) without a text in the column 'text': rows 2, 4, counted from 0"):
        load_gop_debate(write_csv(tmp_path / "Sentiment.csv", rows))


def test_gop_names_the_rows_with_an_unknown_label(tmp_path):
    rows = [*ROWS, ("a", "Mixed"), ("b", ""), *[("c", "Mixed")] * 5]
    expected = r"7 row\(s\) .*: rows 6, 7, 8, 9, 10, … \(7 in all\), counted .* \(there it is 'Mixed', nothing\)"
    with pytest.raises(ValueError, match=expected):
        load_gop_debate(write_csv(tmp_path / "Sentiment.csv", rows))


def test_gop_takes_labels_in_any_case(tmp_path):
    rows = [("a", "NEGATIVE"), ("b", " neutral"), ("c", "Positive ")]
    assert load_gop_debate(write_csv(tmp_path / "Sentiment.csv", rows)).target.tolist() == SENTIMENTS


def test_gop_changes_nothing_on_disk(gop_file):
    before = {file: file.read_bytes() if file.is_file() else None for file in gop_file.parents[1].rglob("*")}
    load_gop_debate(gop_file.parents[1])
    after = {file: file.read_bytes() if file.is_file() else None for file in gop_file.parents[1].rglob("*")}
    assert after == before


@pytest.mark.data
def test_gop_real_file(data_folder):
    """The published file has the numbers that the docstring gives."""
    bunch = load_gop_debate(as_frame=True)
    assert bunch.filename == str(data_folder / "gop_debate" / "Sentiment.csv")
    assert bunch.frame.shape == (13_871, 21)
    assert Counter(bunch.target) == {"negative": 8_493, "neutral": 3_142, "positive": 2_236}
    assert bunch.data.nunique() == 10_402
    assert bunch.data.str.startswith("RT @").sum() == 7_686
    assert (bunch.frame.groupby("text")["sentiment"].nunique() > 1).sum() == 131
    published = pd.read_csv(data_folder / "gop_debate" / "Sentiment.csv")
    assert bunch.data.tolist() == published["text"].tolist()


@pytest.mark.data
def test_sample_copies_nothing_from_real_tweets(data_folder, different):
    """No sample shares seven words in a row with a real tweet."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[\w']+", text.lower())
        return set(zip(*(words[k:] for k in range(7)), strict=False))

    real = pd.concat(
        [
            pd.read_csv(data_folder / "gop_debate" / "Sentiment.csv")["text"],
            pd.read_csv(data_folder / "airline" / "Tweets.csv")["text"],
        ]
    )
    known = set().union(*(runs(text) for text in real))
    assert [text for text in different if runs(text) & known] == []
