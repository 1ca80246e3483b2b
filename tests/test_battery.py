"""scikit-learn's complete common checks over every public estimator (``_battery`` says how)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn
from packaging.version import Version
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbert import BertEmbedder, HeadClassifier
from tests._battery import (
    NumericClassifier,
    NumericCleaner,
    NumericEmbedder,
    TinyBert,
    TinyBertClassifier,
    TinyBertEmbedder,
    read_vectors,
)

EMBEDDER = {"model": TinyBert(), "device": "cpu", "long_texts": "truncate"}
HEAD = {"hidden_layer_sizes": (32,), "weight_decay": 0.5, "learning_rate_init": 3e-3, "device": "cpu"}
ESTIMATORS = {
    "TextCleaner": NumericCleaner(),
    "BertEmbedder": NumericEmbedder(**EMBEDDER),
    "BertEmbedder, tiny BERT": TinyBertEmbedder(**EMBEDDER),
    "BertSentimentClassifier": NumericClassifier(BertEmbedder(**EMBEDDER), **HEAD),
    "BertSentimentClassifier, tiny BERT": TinyBertClassifier(BertEmbedder(**EMBEDDER), **HEAD),
    "HeadClassifier": HeadClassifier(device="cpu"),
}
NAMES = {type(estimator): name for name, estimator in ESTIMATORS.items()}


def expected_failures(estimator):
    """Return the checks that cannot hold, with their reasons. There are none."""
    return {}


@pytest.fixture(autouse=True)
def backbone(request, monkeypatch):
    """Put the stand-in in the engine's place, unless the estimator is one of the tiny BERT."""
    if "callspec" in vars(request.node) and "tiny BERT" not in NAMES[type(request.node.callspec.params["estimator"])]:
        monkeypatch.setattr("skbert._embedder.embedder.encode", read_vectors)


@pytest.mark.filterwarnings("ignore::skbert.exceptions.ValidationSplitWarning")
@parametrize_with_checks(list(ESTIMATORS.values()), expected_failed_checks=expected_failures)
def test_common_check(estimator, check, record_property):
    """The check holds."""
    record_property("battery", NAMES[type(estimator)])
    check(estimator)


# What scikit-learn checks of its own estimators beside `check_estimator`.
FURTHER = [
    "check_n_features_in_after_fitting",
    "check_dataframe_column_names_consistency",
]
OF_TRANSFORMERS = [
    "check_get_feature_names_out_error",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
]
# The scikit-learn that brought a check, where the oldest that is supported does not have it.
SINCE: dict[str, str] = {}

CANNOT_HOLD = {
    (
        "BertEmbedder",
        "check_get_feature_names_out_error",
    ): "the model alone says the names",
}


def further_checks():
    """Yield each estimator with each check, and the reason where it cannot hold."""
    for name, estimator in ESTIMATORS.items():
        # A cleaner gives texts, which the adapter reads back to numbers: set_output is stated in test_common instead.
        of_transformers = OF_TRANSFORMERS if name.startswith("BertEmbedder") else ()
        for check in filter(is_due, (*FURTHER, *of_transformers)):
            reason = CANNOT_HOLD.get((name.partition(",")[0], check))
            marks = [pytest.mark.xfail(reason=reason, raises=AssertionError)] if reason else []
            yield pytest.param(estimator, check, id=f"{name}-{check}", marks=marks)


def is_due(check, version=sklearn.__version__):
    """Say whether a scikit-learn has to have a check."""
    return Version(version) >= Version(SINCE.get(check, "0"))


def test_every_further_check_is_there():
    """One that scikit-learn renames or drops is to be told by its name, and not to be left out in silence."""
    assert [check for check in (*FURTHER, *OF_TRANSFORMERS) if is_due(check) != hasattr(estimator_checks, check)] == []


def test_a_newer_check_is_due_from_its_version_on(monkeypatch):
    """Below that version it is none of ours, and a check without a version is always due."""
    monkeypatch.setitem(SINCE, "check_of_tomorrow", "1.10")
    assert [is_due("check_of_tomorrow", version) for version in ("1.9.1", "1.10.0")] == [False, True]
    assert is_due("check_of_yesterday", "1.6.0")


@pytest.mark.filterwarnings("ignore::skbert.exceptions.ValidationSplitWarning")
@pytest.mark.parametrize(("estimator", "check"), list(further_checks()))
def test_further_check(estimator, check, record_property):
    """The checks that scikit-learn runs over its own estimators, and `check_estimator` leaves out."""
    record_property("battery", NAMES[type(estimator)])
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


def names_of_checks(estimator):
    """Return the names of the checks that `check_estimator` has for an estimator."""
    return [
        getattr(check, "func", check).__name__ for _, check in estimator_checks.estimator_checks_generator(estimator)
    ]


@pytest.mark.skipif("check_array_api_input" not in names_of_checks(HeadClassifier()), reason="new in scikit-learn 1.9")
def test_the_check_that_wants_scipy_to_be_told(pytestconfig):
    """`check_array_api_input` skips unless scipy was imported with SCIPY_ARRAY_API=1: so in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "-k", "check_array_api_input"]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    ran = subprocess.run(
        [*command, __file__], cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout
    assert re.search(rf"^{len(ESTIMATORS)} passed", ran.stdout, re.MULTILINE), ran.stdout
    assert "skipped" not in ran.stdout


def test_an_honest_tag_leaves_one_check():
    """Why the adapter is there: alone, the battery is one check. If this fails, the adapter may have had its day."""
    with pytest.warns(SkipTestWarning):
        assert names_of_checks(BertEmbedder(TinyBert())) == ["check_estimator_cloneable"]


def test_the_documented_numbers_are_true():
    """docs/developing/common_checks.md says how many checks there are, and how many may fail; all others pass here."""
    page = Path(__file__).parents[1] / "docs" / "developing" / "common_checks.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    if sklearn.__version__ not in table[0]:
        pytest.skip(f"the table has {table[0][1:]}, this is {sklearn.__version__}")
    column = table[0].index(sklearn.__version__)
    documented = {row[0]: row[column] for row in table[2:]}
    further = list(further_checks())
    counted = {}
    for name, estimator in ESTIMATORS.items():
        own = [case for case in further if case.values[0] is estimator]
        failing = sum(bool(case.marks) for case in own) + len(expected_failures(estimator))
        total = len(names_of_checks(estimator)) + len(own)
        counted[name] = f"{total - failing} of {total}"
    assert documented == counted
