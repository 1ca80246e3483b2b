"""explain: which words carried a decision, for every fitted classifier of texts; and how pieces become words."""

from __future__ import annotations

import re
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skbert import BertEmbedder, BertSentimentClassifier, HeadSearchCV, MemoryStore, TextCleaner
from skbert._engine.probing import is_quiet
from skbert.exceptions import InvalidParameterError, MissingTextError, TextInputError, TruncationWarning
from skbert.inspection import Word, explain
from skbert.inspection._by_gradients import gather
from skbert.inspection._cases import Case, words_of
from skbert.inspection._gradients import PieceAttributions
from skbert.inspection._leave_one_out import without
from skbert.inspection._subject import trace_items
from tests import _compose
from tests._inputs import CONTAINERS, snapshot

embedder, classifier = _compose.embedder, _compose.classifier

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Of every kind that words and cleaners look at, besides whatever else Unicode has.
PARTS = ["RT @ann: ", "#GOPDebate", "&amp;", "&lt;3", "http://t.co/x", "soooooo", "!!!", "don't", "a", "-", "3,000"]
PARTS += [" ", "  ", "\n", "\u00a0", "\u200f", "😂", "👩🏽\u200d🚀", "🇺🇸", "e\u0301", "क्षि", "中文", "שלום", "مرحبا"]
WILD = st.lists(st.sampled_from(PARTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=12)
WILD = WILD.map("".join)


def odds(probabilities, column):
    """Return log(p / (1 - p)), written down again."""
    p = np.asarray(probabilities, dtype=np.float64)
    return np.log(p[:, column]) - np.log(sum(p[:, k] for k in range(p.shape[1]) if k != column))


@pytest.fixture(scope="module")
def bag():
    """Return a bag of words over three classes."""
    texts = _compose.make_texts(96, kinds=("bad", "good", "plain"))
    return make_pipeline(TextCleaner(), TfidfVectorizer(token_pattern=r"\S+"), LogisticRegression(C=10)).fit(
        texts.X, texts.y
    )


@pytest.fixture(scope="module")
def letters():
    """Return a classifier that reads every character, behind a cleaner."""
    texts = _compose.make_texts()
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
    return make_pipeline(TextCleaner(), vectorizer, LogisticRegression()).fit(texts.X, texts.y)


# -- what leaving one out is ----------------------------------------------------------------------------------------

BY_HAND = [
    ("what a night", ["a night", "what night", "what a"]),
    ("  so   good\n", ["  good\n", "  so"]),
    ("I love it!", ["love it!", "I it!", "I love !", "I love it"]),
    ("good/bad", ["/bad", "good bad", "good/"]),
    ("great😂 day", ["😂 day", "great day", "great😂"]),
    ("good", [""]),
    ("A&amp;B", ["&amp;B", "A B", "A&amp;"]),
    ("#win @ann http://t.co/x", ["@ann http://t.co/x", "#win http://t.co/x", "#win @ann"]),
    ("我爱你", ["爱你", "我 你", "我爱"]),
    ("very very sad", ["very sad", "very sad", "very very"]),
]


@pytest.mark.parametrize("row", range(len(BY_HAND)))
@pytest.mark.parametrize("target", [None, "bad", "good", "plain"])
def test_an_attribution_is_what_the_log_odds_lose_without_the_word(bag, row, target):
    """For each word: log-odds of the text minus those of the text written down without it, from predict_proba."""
    text, variants = BY_HAND[row]
    (found,) = explain([text], bag, target=target)
    label = target or bag.predict([text])[0]
    column = list(bag.classes_).index(label)
    whole = odds(bag.predict_proba([text]), column)[0]
    assert (found.target, found.predicted, found.method) == (label, bag.predict([text])[0], "leave_one_out")
    assert found.log_odds == pytest.approx(whole, abs=1e-12)
    assert found.probability == pytest.approx(bag.predict_proba([text])[0, column], abs=1e-12)
    np.testing.assert_allclose(found.attributions, whole - odds(bag.predict_proba(variants), column), atol=1e-12)
    assert found.attributions.dtype == np.float64
    assert (found.baseline_log_odds, found.n_steps) == (None, None)


@SLOW
@given(text=WILD)
def test_taking_a_word_out_joins_no_others(text):
    """What is left are the other words: their characters in order, and white space wherever two would touch anew."""
    for word in words_of(text):
        left = without(text, word)
        rest = (text[: word.start], text[word.end :])
        assert "".join(left.split()) == "".join("".join(rest).split())
        before, behind = rest[0].split(), rest[1].split()
        assert left.split() == before + behind


@SLOW
@given(first=WILD, second=WILD)
def test_of_a_pair_one_side_is_changed(first, second):
    """A word of one side leaves the other side alone, and each side is cut as a single text is."""
    for word in words_of((first, second)):
        left = without((first, second), word)
        alone = word._replace(side=0)
        expected = (without(first, alone), second) if word.side == 0 else (first, without(second, alone))
        assert left == expected


@SLOW
@given(texts=st.lists(WILD, min_size=1, max_size=4))
def test_words_stand_where_they_are_said_to_stand(letters, texts):
    """In whatever text, behind whatever cleaning: text[start:end] is the word, and words are all but white space."""
    for text, found in zip(texts, explain(texts, letters), strict=True):
        assert found.text == text
        assert all(text[word.start : word.end] == word.word and word.side == 0 for word in found.words)
        assert "".join(word.word for word in found.words) == "".join(text.split())
        assert found.attributions.shape == (len(found.words),)
        assert np.isfinite(found.attributions).all()
        frame = found.to_frame()
        assert frame.columns.tolist() == ["word", "start", "end", "attribution"]
        assert frame.attribution.tolist() == found.attributions.tolist()


def test_pairs_have_words_on_both_sides(classifier):
    """The words of both texts are left out in turn, each on its side."""
    texts = _compose.make_texts()
    pairs = [(text, "who won?") for text in texts.X]
    model = classifier.fit(pairs, texts.y)
    (found,) = explain([("he lost it", "a  lie!")], model, method="leave_one_out")
    assert found.words == (
        *(Word("he", 0, 2, 0), Word("lost", 3, 7, 0), Word("it", 8, 10, 0)),
        *(Word("a", 0, 1, 1), Word("lie", 3, 6, 1), Word("!", 6, 7, 1)),
    )
    variants = [("lost it", "a  lie!"), ("he it", "a  lie!"), ("he lost", "a  lie!")]
    variants += [("he lost it", "lie!"), ("he lost it", "a  !"), ("he lost it", "a  lie")]
    p = model.predict_proba([("he lost it", "a  lie!"), *variants])
    values = odds(p, list(model.classes_).index(found.target))
    np.testing.assert_allclose(found.attributions, values[0] - values[1:], atol=1e-5)


def test_probabilities_of_0_and_1_stay_finite(bag):
    """A forest's certainty counts as 1e-38 of doubt; a bag's small doubts are told apart, however small."""
    texts = _compose.make_texts()
    forest = make_pipeline(CountVectorizer(), DecisionTreeClassifier(random_state=0)).fit(texts.X, texts.y)
    assert set(forest.predict_proba(texts.X).ravel()) == {0.0, 1.0}
    for found in explain(list(texts.X[:5]), forest):
        assert found.log_odds == pytest.approx(-np.log(1e-38))
        assert np.isfinite(found.attributions).all()
    sure = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts.X, texts.y)
    (found,) = explain(["great " + "win " * 20], sure)
    assert found.probability == 1.0
    # Of naive Bayes the log-odds are sums over the words.
    log_p = sure[-1].feature_log_prob_[:, sure[0].vocabulary_["win"]]
    np.testing.assert_allclose(found.attributions[1:], log_p[1] - log_p[0], rtol=1e-6)


# -- every estimator, every container --------------------------------------------------------------------------------


def bag_of(classifier):
    """Return the classifier behind the words' weights."""
    return make_pipeline(TfidfVectorizer(), classifier)


ESTIMATORS = {
    "pipeline": lambda: bag_of(LogisticRegression()),
    "search": lambda: GridSearchCV(bag_of(LogisticRegression()), {"tfidfvectorizer__norm": ["l2"]}),
    "calibrated": lambda: CalibratedClassifierCV(bag_of(LinearSVC()), cv=2),
    "vote": lambda: VotingClassifier(
        [("a", bag_of(LogisticRegression())), ("b", bag_of(MultinomialNB()))], voting="soft"
    ),
    "union": lambda: make_pipeline(
        make_union(TfidfVectorizer(), TfidfVectorizer(analyzer="char")), RandomForestClassifier(20, random_state=0)
    ),
    "pipeline in a pipeline": lambda: make_pipeline(TextCleaner(), bag_of(LogisticRegression())),
}


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
def test_any_classifier_with_probabilities_will_do(make):
    """The attribution of the deciding word is what predict_proba says without it."""
    texts = _compose.make_texts(96)
    model = make().fit(texts.X, texts.y)
    for text, found in zip(texts.X[:4], explain(texts.X[:4], model), strict=True):
        who, said, word, when = text.split()
        p = np.clip(model.predict_proba(np.array([text, f"{who} {said} {when}"], dtype=object)), 1e-38, 1)
        values = odds(p, list(model.classes_).index(found.target))
        assert found.words[2].word == word
        assert found.attributions[2] == pytest.approx(values[0] - values[1], abs=1e-9)


class Recorder(TransformerMixin, BaseEstimator):
    """Notes what containers it is given."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        seen.append(X)
        return X


seen: list = []


@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_the_estimator_gets_containers_of_the_users_kind(tiny_bert_folder, make, rows):
    """Any container gives what a list gives, is not changed, and variants come in its kind, with its names."""
    model = BertSentimentClassifier(BertEmbedder(tiny_bert_folder, device="cpu", missing="empty"), **_compose.HEAD)
    labels = np.arange(len(rows)) % 2
    X = make(rows)
    before = snapshot(X)
    seen.clear()
    pipe = Pipeline([("record", Recorder()), ("classify", model)]).fit(X, labels)
    found = explain(X, pipe, method="leave_one_out", target=1)
    expected = explain(list(rows), model.fit(list(rows), labels), method="leave_one_out", target=1)
    assert [one.text for one in found] == list(rows)
    for one, other in zip(found, expected, strict=True):
        assert one.words == other.words
        np.testing.assert_allclose(one.attributions, other.attributions, atol=1e-5)
    assert snapshot(X) == before
    if isinstance(X, pd.Series | pd.DataFrame | pd.Index | np.ndarray | list | tuple):
        (given,) = {type(one) for one in seen if not isinstance(X, np.memmap)} or {None}
        assert given in (type(X), None)
    if isinstance(X, pd.DataFrame):
        assert all(one.columns.equals(X.columns) for one in seen)


def test_missing_texts_are_the_estimators_affair(tiny_bert_folder):
    """Where it takes them their explanation has no words, and where it does not its error is told."""
    texts = _compose.make_texts()
    model = BertSentimentClassifier(BertEmbedder(tiny_bert_folder, device="cpu", missing="empty"), **_compose.HEAD)
    model.fit(texts.X, texts.y)
    missing, there = explain(pd.Series([None, "he lost"]), model, target="bad")
    assert missing.text is None
    assert missing.words == ()
    assert missing.attributions.shape == (0,)
    assert missing.log_odds == pytest.approx(odds(model.predict_proba([None]), 0)[0], abs=1e-5)
    assert missing.predicted == model.predict([None])[0]
    assert len(there.words) == 2
    model.embedder_.missing = "error"
    with pytest.raises(MissingTextError, match="row"):
        explain([None, "he lost"], model)


# -- target, method ---------------------------------------------------------------------------------------------------


def test_target_is_none_one_label_or_one_a_text(bag):
    """A label for all is a sequence of it, and None the labels that are predicted; two classes' odds are opposite."""
    X = ["he said good today", "he said bad today", "he said good today"]
    predicted = bag.predict(X).tolist()
    assert [one.target for one in explain(X, bag)] == predicted
    assert [one.target for one in explain(X, bag, target="plain")] == ["plain"] * 3
    asked = ["plain", "bad", "good"]
    for form in (
        asked,
        tuple(asked),
        np.array(asked),
        np.array(asked, dtype=object),
        pd.Series(asked, index=[5, 5, 5]),
    ):
        found = explain(X, bag, target=form)
        assert [one.target for one in found] == asked
        assert [one.predicted for one in found] == predicted
        for one, label in zip(found, asked, strict=True):
            (alone,) = explain([one.text], bag, target=label)
            np.testing.assert_allclose(one.attributions, alone.attributions, atol=1e-12)
    texts = _compose.make_texts()
    two = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts.X, (texts.y == "good").astype(int))
    yes, no = explain(X[:1], two, target=1)[0], explain(X[:1], two, target=np.int64(0))[0]
    np.testing.assert_allclose(yes.attributions, -no.attributions, atol=1e-12)
    assert (yes.target, no.target) == (1, 0)


@pytest.mark.filterwarnings("ignore::skbert.exceptions.TruncationWarning")
def test_auto_takes_gradients_for_long_texts_where_they_can_be_had(classifier, bag):
    """Up to 100 words are left out one by one, more have gradients; other estimators leave out always."""
    texts = _compose.make_texts()
    model = make_pipeline(TextCleaner(), classifier).fit(texts.X, texts.y)
    X = [" ".join(["good"] * 100), " ".join(["good"] * 101)]
    assert [one.method for one in explain(X, model)] == ["leave_one_out", "integrated_gradients"]
    assert [one.method for one in explain(X, bag)] == ["leave_one_out"] * 2
    assert [one.method for one in explain(X[1:], model, method="leave_one_out")] == ["leave_one_out"]


@pytest.mark.parametrize("wrap", ["bare", "pipeline", "nested", "search", "frozen"])
def test_gradients_are_had_through_pipelines_and_searches(classifier, wrap):
    """The words get what the pieces got: their sum is the difference of the log-odds from the baseline."""
    texts = _compose.make_texts()
    made = {
        "bare": lambda: classifier,
        "pipeline": lambda: make_pipeline(TextCleaner(), "passthrough", classifier),
        "nested": lambda: make_pipeline(TextCleaner(urls="drop"), make_pipeline(TextCleaner(), classifier)),
        "search": lambda: HeadSearchCV(make_pipeline(TextCleaner(), classifier), {}, cv=2),
        "frozen": lambda: make_pipeline(TextCleaner(), FrozenEstimator(classifier.fit(texts.X, texts.y))),
    }[wrap]()
    model = made.fit(texts.X, texts.y)
    X = ["RT @ann: he said 😂 good today &amp; #BadDebate http://t.co/x", "", "sad"]
    for text, found in zip(X, explain(X, model, method="integrated_gradients", target="good"), strict=True):
        difference = found.log_odds - found.baseline_log_odds
        assert found.method == "integrated_gradients"
        assert found.n_steps >= 8
        assert found.attributions.sum() == pytest.approx(difference, abs=0.02 * max(1, abs(difference)))
        assert found.log_odds == pytest.approx(odds(model.predict_proba([text]), 1)[0], abs=1e-4)
        assert [text[word.start : word.end] for word in found.words] == [word.word for word in found.words]


# -- from pieces to words ---------------------------------------------------------------------------------------------


def slow_places(words, spans):
    """Return the word of each span, by trying all."""
    places = []
    for start, end in spans:
        shared = [len(set(range(start, end)) & set(range(word.start, word.end))) for word in words]
        if max(shared) > 0:
            places.append(shared.index(max(shared)))
            continue
        gaps = [max(word.start - end, start - word.end, 0) for word in words]
        inside = [k for k, word in enumerate(words) if word.start < start < word.end]
        places.append(inside[0] if inside else gaps.index(min(gaps)))
    return places


@SLOW
@given(sides=st.lists(WILD, min_size=1, max_size=2), cleaned=st.booleans(), data=st.data())
def test_each_piece_goes_to_the_word_it_covers_most(sides, cleaned, data):
    """As by trying all words; the sum of what the words get is that of the pieces, on each side."""
    item = sides[0] if len(sides) == 1 else tuple(sides)
    origins = tuple(trace_items([side], [TextCleaner()] if cleaned else [])[0][0] for side in sides)
    spans, of_side = [], []
    for side, origin in enumerate(origins):
        ends = st.integers(0, len(origin.text))
        drawn = data.draw(st.lists(st.tuples(ends, ends).map(sorted), max_size=8))
        spans += drawn
        of_side += [side] * len(drawn)
    values = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=len(spans), max_size=len(spans))), dtype=float)
    pieces = PieceAttributions(
        values, np.array(spans, dtype=np.int64).reshape(-1, 2), np.array(of_side, dtype=np.int8), 1.0, 0.0, 8
    )
    found = gather(Case(item, 0, 0, words_of(item), 1.0), origins, pieces)
    assert found.values.shape == (len(found.words),)
    for side, origin in enumerate(origins):
        words = [word for word in found.words if word.side == side]
        got = found.values[[word.side == side for word in found.words]]
        own = pieces.sides == side
        assert got.sum() == pytest.approx(values[own].sum(), abs=1e-9)
        assert all(sides[side][word.start : word.end] == word.word for word in words)
        if words:
            places = slow_places(words, origin.locate(pieces.spans[own]).tolist())
            expected = np.bincount(places, weights=values[own], minlength=len(words))
            np.testing.assert_allclose(got, expected, atol=1e-9)


def test_white_space_alone_counts_as_a_word_where_there_is_no_other():
    """A tokenizer that has pieces for white space loses nothing of the sum."""
    pieces = PieceAttributions(np.array([0.5, 0.25]), np.array([[0, 1], [1, 3]]), np.zeros(2, np.int8), 1.0, 0.25, 8)
    found = gather(Case("   ", 0, 0, (), 1.0), trace_items(["   "], [])[0], pieces)
    assert found.words == (Word("   ", 0, 3, 0),)
    assert found.values.tolist() == [0.75]


# -- a planted word ---------------------------------------------------------------------------------------------------

WHO = "the mayor,my neighbour,our teacher,a driver,the pilot,his sister,one guest,the cook".split(",")
DID = "spoke about,looked at,wrote down,asked for,waited for,paid for,walked past".split(",")
WHAT = "the long bridge,a train to the coast,the green door,two bags of rice,the new road,some old maps".split(",")
WHEN = "on monday,before lunch,after the meeting,last winter,at noon,in june".split(",")
PLANTED = {"yes": "wonderful", "no": "dreadful"}


def planted(n, seed=0):
    """Return texts in which one word alone, at a random place, tells the label, and the labels."""
    draw = np.random.default_rng(seed)
    X, y = [], []
    for k in range(n):
        label = ("yes", "no")[k % 2]
        words = " ".join(draw.choice(part) for part in (WHO, DID, WHAT, WHEN)).split()
        words.insert(draw.integers(len(words) + 1), PLANTED[label])
        X.append(" ".join(words))
        y.append(label)
    return X, y


@pytest.mark.parametrize("kind", ["classifier", "gradients", "bag", "pipeline"])
def test_a_planted_word_ranks_first(minilm, kind):
    """Where one word alone decides the label it has the largest attribution, in 95 % of texts never trained on."""
    X, y = planted(200)
    head = {"random_state": 0, "early_stopping": False, "max_iter": 40}
    made = {
        "bag": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
        "pipeline": lambda: make_pipeline(TextCleaner(), BertEmbedder(minilm), LogisticRegression(C=10)),
    }.get(kind, lambda: BertSentimentClassifier(BertEmbedder(minilm, layers=(-4, -3, -2, -1)), **head))
    model = made().fit(X[:160], y[:160])
    n = 20 if kind == "gradients" else 40
    method = "integrated_gradients" if kind == "gradients" else "leave_one_out"
    found = explain(X[-n:], model, method=method)
    assert [one.predicted for one in found] == y[-n:]
    first = [one.words[int(np.argmax(one.attributions))].word for one in found]
    share = np.mean([word == PLANTED[label] for word, label in zip(first, y[-n:], strict=True)])
    assert share >= 0.95


# -- laws of the house -------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_a_planted_word_ranks_first_in_real_tweets(minilm, data_folder):
    """Among ten words of a real tweet, handles and links too, in at least 95 % of sixty, by either method."""
    tweets = pd.read_csv(data_folder / "airline" / "Tweets.csv").text.drop_duplicates().sample(260, random_state=0)
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, len(tweets))
    X = []
    for tweet, label in zip(tweets, y, strict=True):
        words = draw.permutation(tweet.split())[:10].tolist()
        words.insert(draw.integers(0, len(words) + 1), "superb" if label else "dreadful")
        X.append(" ".join(words))
    embedder = BertEmbedder(minilm, layers=(-4, -3, -2, -1))
    model = BertSentimentClassifier(embedder, random_state=0).fit(X[:200], y[:200])
    for method in ("leave_one_out", "integrated_gradients"):
        found = explain(X[200:], model, method=method, target=y[200:])
        first = [one.words[int(np.argmax(one.attributions))].word for one in found]
        assert np.mean([word in ("superb", "dreadful") for word in first]) >= 0.95, method


def test_companions_do_not_matter(classifier):
    """A text alone is explained as among others, within 1e-5 of its largest number, copies as their first one."""
    texts = _compose.make_texts()
    model = classifier.fit(texts.X, texts.y)
    X = [*texts.X[:6], texts.X[0]]
    together = explain(X, model)
    for text, found in zip(X, together, strict=True):
        (alone,) = explain([text], model)
        assert alone.words == found.words
        np.testing.assert_allclose(alone.attributions, found.attributions, atol=1e-5 * max(1, abs(found.log_odds)))
    assert together[0].attributions.tolist() == together[6].attributions.tolist()
    assert not np.shares_memory(together[0].attributions, together[6].attributions)


def test_small_calls_give_the_same(classifier, monkeypatch):
    """However the variants are divided among calls, the numbers stay, and no call is larger than it may be."""
    texts = _compose.make_texts()
    model = classifier.fit(texts.X, texts.y)
    X = [*texts.X[:5], "one"]
    whole = explain(X, model)
    sizes = []
    monkeypatch.setattr("skbert.inspection._leave_one_out._MAX_VARIANTS", 7)
    asked = model.predict_proba
    monkeypatch.setattr(model, "predict_proba", lambda X: (sizes.append((len(X), is_quiet())), asked(X))[1])
    divided = explain(X, model)
    assert sizes == [(6, False), (7, True), (7, True), (7, True)]
    for one, other in zip(whole, divided, strict=True):
        np.testing.assert_allclose(one.attributions, other.attributions, atol=1e-5)
    sizes.clear()
    monkeypatch.setattr("skbert.inspection._leave_one_out._MAX_CHARS", 1)
    explain(["he lost it"], model)
    assert sizes == [(1, False)] + [(1, True)] * 3


def test_different_variants_are_computed_once(classifier, monkeypatch):
    """Copies of a text, and words that stand twice in a row, cost nothing more."""
    texts = _compose.make_texts()
    model = classifier.fit(texts.X, texts.y)
    asked, variants = model.predict_proba, []
    monkeypatch.setattr(model, "predict_proba", lambda X: (variants.extend(X if is_quiet() else []), asked(X))[1])
    explain(["so so sad", "so so sad", "so sad"], model, target=["bad", "good", "bad"])
    assert sorted(variants) == ["sad", "so", "so sad", "so so"]


def test_variants_are_not_stored(tiny_bert_folder):
    """A store holds afterwards what it held before, and originals are found there."""
    texts = _compose.make_texts()
    store = MemoryStore()
    model = BertSentimentClassifier(BertEmbedder(tiny_bert_folder, device="cpu", cache=store), **_compose.HEAD)
    model.fit(texts.X, texts.y)
    before = store.info()
    explain(texts.X[:8], model)
    explain(texts.X[:8], model, method="integrated_gradients")
    after = store.info()
    assert (after.texts, after.vectors, after.bytes, after.misses) == (
        *(before.texts, before.vectors, before.bytes, before.misses),
    )
    assert after.hits == before.hits + 32  # for predict_proba and for predict


def test_what_is_cut_is_told_once_and_shifts_nothing(tiny_bert_folder):
    """One warning for the texts, none for the variants; a word behind the cut has 0 where a cut one follows it."""
    texts = _compose.make_texts()
    model = BertSentimentClassifier(BertEmbedder(tiny_bert_folder, device="cpu", max_length=8), **_compose.HEAD)
    model.fit(texts.X, texts.y)
    with pytest.warns(TruncationWarning) as caught:
        (found,) = explain(["he said good today and she said bad again"], model)
    assert len(caught) == 1
    assert np.abs(found.attributions[:6]).max() > 1e-3
    assert np.abs(found.attributions[6:]).max() <= 1e-6


def test_nothing_global_is_touched_and_nothing_is_printed(classifier, global_state, capsys):
    """Seeds, threads, filters of warnings, the mark of probing: all as before, also after an error."""
    texts = _compose.make_texts()
    model = classifier.fit(texts.X, texts.y)
    global_state = type(global_state)()
    explain(texts.X[:3], model.set_params(verbose=0))
    explain(texts.X[:3], model, method="integrated_gradients")
    assert not is_quiet()

    def breaks(X):
        assert not is_quiet(), "in the midst of it"
        return model.predict_proba(X)

    with pytest.raises(AssertionError, match="in the midst of it"):
        explain(["he"], SimpleNamespace(classes_=model.classes_, predict=model.predict, predict_proba=breaks))
    assert not is_quiet()
    global_state.assert_unchanged()
    assert capsys.readouterr() == ("", "")


def test_other_threads_embed_as_ever(tiny_bert_folder):
    """While one thread explains, what another embeds goes into the store."""
    texts = _compose.make_texts()
    store = MemoryStore()
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", cache=store)
    model = BertSentimentClassifier(embedder, **_compose.HEAD).fit(texts.X, texts.y)
    inside, done = threading.Event(), threading.Event()

    def slow(X):
        if is_quiet():
            inside.set()
            assert done.wait(60)
        return X

    waiting = make_pipeline(FunctionTransformer(slow), FrozenEstimator(model)).fit(texts.X, texts.y)
    results = []
    thread = threading.Thread(target=lambda: results.extend(explain(["he lost it"], waiting)))
    thread.start()
    assert inside.wait(60)
    before = store.info().texts
    embedder.transform(["something of another thread"])
    assert store.info().texts == before + 1
    done.set()
    thread.join()
    (expected,) = explain(["he lost it"], model)
    np.testing.assert_allclose(results[0].attributions, expected.attributions, atol=1e-5)
    assert store.info().texts == before + 1


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_an_estimator_without_probabilities_is_refused_with_a_remedy(embedder):
    """No classifier, no probabilities, several outputs, no fit: each error says what to do."""
    texts = _compose.make_texts()
    with pytest.raises(
        InvalidParameterError, match=r"'estimator' parameter of explain .* Got BertEmbedder.*classifier beh"
    ):
        explain(["a"], embedder)
    for bare in (LinearSVC(), RidgeClassifier()):
        model = make_pipeline(TfidfVectorizer(), bare).fit(texts.X, texts.y)
        with pytest.raises(InvalidParameterError, match="CalibratedClassifierCV"):
            explain(["a"], model)
    with pytest.raises(InvalidParameterError, match=r"'estimator' parameter of explain .* Got 'bert' instead"):
        explain(["a"], "bert")
    with pytest.raises(NotFittedError):
        explain(["a"], BertSentimentClassifier(embedder))
    with pytest.raises(NotFittedError):
        explain(["a"], make_pipeline(TfidfVectorizer(), LogisticRegression()))
    several = make_pipeline(TfidfVectorizer(), MultiOutputClassifier(LogisticRegression()))
    several.fit(texts.X, np.stack([texts.y == "bad", texts.groups > 3], axis=1))
    with pytest.raises(InvalidParameterError, match="one output"):
        explain(["a"], several)


@pytest.mark.parametrize("target", ["best", 1, None, [], {"bad"}, ["bad"], ["bad", "best"], ["bad", None], b"bad"])
def test_a_wrong_target_is_refused(bag, target):
    """The error lists the classes and shows what was given."""
    if target is None:
        target = np.nan
    with pytest.raises(InvalidParameterError, match=re.escape("'bad', 'good', 'plain'")):
        explain(["a", "b"], bag, target=target)


def test_a_wrong_method_is_refused(bag, classifier):
    """It names the methods; gradients say what stands in their way, and what to ask for instead."""
    texts = _compose.make_texts()
    for method in ("shap", None, 1):
        with pytest.raises(InvalidParameterError, match="'method' parameter of explain must be a str among"):
            explain(["a"], bag, method=method)
    with pytest.raises(InvalidParameterError, match=r"'leave_one_out'.*the classifier is LogisticRegression"):
        explain(["a"], bag, method="integrated_gradients")
    behind = make_pipeline(FunctionTransformer(), classifier).fit(texts.X, texts.y)
    with pytest.raises(InvalidParameterError, match="FunctionTransformer stands before it"):
        explain(["a"], behind, method="integrated_gradients")


@pytest.mark.parametrize("X", ["one text", [], [1], pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), iter(["a"])])
def test_what_is_no_text_is_refused(bag, X):
    """As everywhere else, under the name of explain."""
    with pytest.raises(TextInputError):
        explain(X, bag)


def test_a_frame_that_is_not_read_by_rows_is_refused(bag):
    """A vectoriser sees the names of columns in a frame; that they may be as many as rows does not hide it."""
    for frame in (pd.DataFrame({"good": ["it was bad"]}), pd.DataFrame({"good": ["it was bad", "good", "bad"]})):
        with pytest.raises(
            TextInputError, match=r"answers for 1: it does not read a DataFrame row by row.*X\['text'\]"
        ):
            explain(frame, bag)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "A film.<br /><br />I <i>loved</i> it",
            ["A", "film", ".", "<br />", "<br />", "I", "<i>", "loved", "</i>", "it"],
        ),
        ("<3 <33 a<b 1 < 2 > 0", ["<3", "<33", "a", "<", "b", "1", "<", "2", ">", "0"]),
        ("the U.S.A. and a.b+c@d.co.uk, end.", ["the", "U.S.A.", "and", "a.b+c@d.co.uk", ",", "end", "."]),
        ("@@bob #tag # @ ### !!!#tag a##b x@y", [*"@@bob #tag # @ ### !!! #tag a ##b x @y".split()]),
        ("don't well-known 3.5% 1,000 &amp; 4th", [*"don't well-known 3.5 % 1,000 &amp; 4th".split()]),
        (
            "\U0001f44d\U0001f3fd\U0001f468\u200d\U0001f469\u200d\U0001f467 :-) \u5317\u4eac",
            ["\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467", ":-)", "\u5317", "\u4eac"],
        ),
    ],
    ids=["tags", "hearts", "dots", "handles", "marks", "emoji"],
)
def test_words_are_what_a_reader_sees_as_one(text, words):
    """Tags, addresses, abbreviations, handles, entities and emoji are one word each, and full stops keep from them."""
    assert [word.word for word in words_of(text)] == words


@pytest.mark.parametrize(
    "unit", ["#", "@#", "<a", "<", "a.", "a", "a.b-", "x@", "&", "1.", "<br ", "!<", "don'", "http://"]
)
def test_words_of_a_long_run_are_found_and_hold_all_of_it(unit):
    """Runs that could begin a word at each of their characters have words too, which hold them whole."""
    text = unit * 20_000
    assert "".join(word.word for word in words_of(text)) == text.replace(" ", "")
