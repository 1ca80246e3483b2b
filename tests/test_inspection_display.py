"""Laws of how explanations are shown: as a table, on a terminal, in a notebook, in a picture."""

from __future__ import annotations

import copy
import html
import pickle
import re
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skbert._displays import TrainingHistoryDisplay
from skbert.exceptions import InvalidParameterError
from skbert.inspection import AttentionDisplay, Explanation, ExplanationDisplay, Word
from skbert.inspection._showing import AGAINST, FOR, INK, PAPER, background, coloured, escape, label, one_line, plain
from skbert.inspection._words import split_words

NASTY = (
    "<script>alert('x')</script> \"quoted\" &amp; &lt;b&gt; 5 < 6",
    "שלום עולם and هذا فيلم \u202eevil\u202c \u200f!",
    "\x1b[31mred\x1b[0m \x07bell\r\nnext\rline\ttab  two\u2028sep \x00nul \x9b1m",
    "👩‍👩‍👧 🤔 中文字 e\u0301 $5 and $6^{x}_",
    "",
    " \n ",
)
TEXTS = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.lists(st.sampled_from(["<", ">", "&", "amp;", '"', "'", "\r", "\n", "ש", "\u202e", "a", " ", "&#13;"])).map(
        "".join
    ),
)
VALUES = st.floats(-20, 20)


def make(text, attributions=None, **changes):
    """Return an explanation of a text or pair, with its words as `explain` splits them."""
    sides = () if text is None else (text,) if isinstance(text, str) else text
    words = tuple(
        Word(side[start:end], start, end, number)
        for number, side in enumerate(sides)
        for start, end in split_words(side)
    )
    if attributions is None:
        attributions = np.random.default_rng(0).normal(size=len(words))
    fields = {"target": "good", "predicted": "good", "log_odds": 0.85, "probability": 0.7, "method": "leave_one_out"}
    return Explanation(text=text, words=words, attributions=np.asarray(attributions, float), **fields | changes)


class Reader(HTMLParser):
    """Reads HTML as a browser does: the tags, and the characters of each element that holds a user's text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.open.append((tag, dict(attrs)))
        if dict(attrs).get("dir") == "auto":
            self.texts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(attrs.get("dir") == "auto" for _, attrs in self.open):
            self.texts[-1] += data


def luminance(colour):
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    share = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def simulated(colour, kind):
    """Return the linear RGB of a colour as a dichromat sees it (Viénot, Brettel and Mollon, 1999)."""
    share = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    missing = {
        "protan": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
        "deutan": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    }
    return np.linalg.inv(to_lms) @ np.array(missing[kind]) @ to_lms @ linear


# --- the table


@given(st.one_of(TEXTS, st.tuples(TEXTS, TEXTS)), st.randoms(use_true_random=False))
def test_frame_holds_the_words_where_they_stand(text, random):
    """Each row's characters of the text are its word; rows stand in reading order, whatever the order of `words`."""
    explanation = make(text)
    order = list(range(len(explanation.words)))
    random.shuffle(order)
    mixed = make(text)
    object.__setattr__(mixed, "words", tuple(explanation.words[place] for place in order))
    object.__setattr__(mixed, "attributions", explanation.attributions[order])
    frame = mixed.to_frame()
    columns = ["word", "start", "end", "attribution", *["side"] * isinstance(text, tuple)]
    assert list(frame.columns) == columns
    assert frame["attribution"].dtype == np.float64
    assert frame["start"].dtype == frame["end"].dtype == np.int64
    sides = (text,) if isinstance(text, str) else text
    for row in frame.itertuples():
        assert sides[getattr(row, "side", 0)][row.start : row.end] == row.word
    np.testing.assert_array_equal(frame["attribution"], explanation.attributions)


def test_frame_of_a_missing_text_is_empty():
    """A missing text, and one without words, give the same columns and types, and no rows."""
    for text in (None, "", " \n "):
        frame = make(text).to_frame()
        assert len(frame) == 0
        assert dict(frame.dtypes) == dict(make("word").to_frame().dtypes)


# --- the terminal


@given(st.one_of(st.none(), TEXTS, st.tuples(TEXTS, TEXTS)), TEXTS, st.one_of(TEXTS, st.integers(), st.none()))
def test_repr_is_safe_on_a_terminal(text, target, predicted):
    """A repr never fails, and holds no control character but its own line ends, nor a mark of direction."""
    shown = repr(make(text, target=target, predicted=predicted))
    bad = [char for char in shown.replace("\n", "") if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert not bad
    assert not set(shown) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


def test_repr_names_the_strongest_words_first():
    """The table is ordered by strength, bars are as long as their numbers, and what is left out is counted."""
    shown = repr(make("a b c d", [0.5, -2.0, 0.0, 1.0], predicted="bad")).splitlines()
    assert shown == [
        "Explanation of 'good': probability 0.700, log-odds +0.850 (leave-one-out)",
        "  predicted is 'bad'",
        "  a b c d",
        "  -2.000  --------------------  b",
        "  +1.000  ++++++++++            d",
        "  +0.500  +++++                 a",
        "  and 1 more word, none beyond 0",
    ]
    assert "2 words, all 0" in repr(make("a b", [0, 0]))
    assert "(a missing text)" in repr(make(None))
    assert "  A: one\n  B: two\n" in repr(make(("one", "two")))


def test_repr_of_long_texts_is_short():
    """A text of 10,000 words, each of them long, shows a few lines of ordinary width."""
    shown = repr(make(" ".join(["x" * 300] * 10_000))).splitlines()
    assert len(shown) <= 16
    assert max(map(len, shown)) <= 88


class Unprintable:
    """A label that can't print itself."""

    def __str__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("changes", "attributions"),
    [
        ({"target": Unprintable(), "predicted": object()}, None),
        ({"target": np.str_("x"), "predicted": np.int64(3)}, None),
        ({"log_odds": np.inf, "probability": np.float64(1.0)}, [np.nan, np.inf]),
        ({"log_odds": np.nan, "probability": np.nan, "method": "another"}, [1e-300, -1e300]),
    ],
    ids=["labels that don't print", "numpy labels", "infinite", "extreme"],
)
def test_reprs_never_fail(changes, attributions):
    """Whatever the label and the numbers are, all three ways to show them work."""
    explanation = make("one two", attributions, **changes)
    display = ExplanationDisplay(explanation=explanation)
    for shown in (repr(explanation), explanation._repr_html_(), repr(display), display._repr_html_()):
        assert isinstance(shown, str)
        assert "one" in shown


def test_invisible_words_are_named():
    """Of a word that can't be seen the code points are shown."""
    assert one_line("\u200f", 20) == "U+200F"
    assert plain("a\u202eb\x1bc\td") == "ab\ufffdc d"
    assert label(Unprintable()) == "<Unprintable>"
    assert (label("1"), label(1), label("x" * 99, 10)) == ("'1'", "1", "'" + "x" * 8 + "…")


# --- the notebook


@settings(max_examples=200)
@given(TEXTS, st.data())
def test_html_is_the_text_with_tags_in_it(text, data):
    """Stripped of tags and unescaped, the HTML is the user's text, character by character, whatever the words are."""
    places = st.integers(0, len(text) + 2)
    parts = data.draw(st.lists(st.tuples(places, places, VALUES), max_size=6))
    source = coloured(text, parts, 20.0)
    kept = text.replace("\0", "\ufffd")  # no HTML can hold NUL
    assert html.unescape(re.sub(r"<span [^>]*>|</span>", "", source)) == kept
    assert "\r" not in source
    assert Reader(f'<div dir="auto">{source}</div>').texts == [kept]


@given(st.one_of(st.none(), TEXTS, st.tuples(TEXTS, TEXTS)), TEXTS, TEXTS)
def test_nothing_of_the_users_is_markup(text, target, predicted):
    """The page has only our tags, no scripts, no ids, no links, and the texts come back exactly."""
    read = Reader(make(text, target=target, predicted=predicted)._repr_html_())
    assert not read.open
    assert set(read.tags) <= {"div", "span", "b", "bdi", "i"}
    assert set(read.attributes) <= {"style", "title", "dir"}
    sides = [] if text is None else [text] if isinstance(text, str) else list(text)
    assert read.texts == [side.replace("\0", "\ufffd") for side in sides]


def test_html_says_class_method_and_numbers():
    """Head, titles of the words and legend hold what is explained, how, and by how much."""
    source = make("Not bad <b>", [1.5, -0.75, 0], target="<x>", predicted="&y")._repr_html_()
    assert "&lt;x&gt;" in source
    assert "predicted is" in source
    assert "&amp;y" in source
    assert "leave-one-out" in source
    assert 'title="+1.500"' in source
    assert 'title="-0.750"' in source
    assert f"background:{FOR}" in source
    assert f"background:{AGAINST}" in source
    assert 'dir="auto"' in source


@given(st.lists(VALUES, min_size=3, max_size=3))
def test_colours_are_ordered_as_the_attributions(values):
    """The larger an attribution, the further its colour is from white; its sign decides the hue."""
    source = make("a b c", values)._repr_html_()
    found = re.findall(r'<span title="[^"]*" style="background:(#[0-9a-f]{6})', source)
    paper = np.frombuffer(bytes.fromhex(PAPER[1:]), np.uint8).astype(int)
    rgb = np.array([np.frombuffer(bytes.fromhex(colour[1:]), np.uint8).astype(int) for colour in found])
    full = {sign: np.frombuffer(bytes.fromhex(c[1:]), np.uint8).astype(int) for sign, c in ((1, FOR), (-1, AGAINST))}
    shares = []
    for colour, value in zip(rgb, values, strict=True):
        far = paper - full[1 if value > 0 else -1]
        shares.append((paper - colour) @ far / (far @ far))
        assert colour[2] >= colour[0] if value > 0 else colour[0] >= colour[2]
    order = np.argsort(np.abs(values), kind="stable")
    assert (np.diff(np.array(shares)[order]) >= -0.01).all()  # eight bits a channel
    largest = np.abs(values).max()
    np.testing.assert_allclose(shares, np.abs(values) / largest if largest else [0, 0, 0], atol=0.01)


def test_ink_can_be_read_on_every_colour():
    """The contrast of ink and background is at least 4.5 for every strength: both are set, so themes don't matter."""
    ink = luminance(INK)
    for strength in np.linspace(-1, 1, 401):
        assert (luminance(background(strength)) + 0.05) / (ink + 0.05) >= 4.5
    source = make("a b", [1, -1])._repr_html_()
    for style in re.findall(r'style="([^"]*background:[^"]*)"', source):
        assert re.search(rf"(^|;)color:{INK}(;|$)", style)


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_colours_survive_colour_blindness(kind):
    """For and against stay apart, at half strength too, to those who lack a cone, and neither is much lighter."""
    for strength in (0.5, 1.0):
        one, other = background(strength), background(-strength)
        apart = np.linalg.norm(simulated(one, kind) - simulated(other, kind))
        white = np.linalg.norm(simulated(PAPER, kind) - simulated(one, kind))
        assert apart >= 0.5 * white
        assert abs(luminance(one) - luminance(other)) <= 0.06


def test_carriage_returns_and_nul_survive_or_are_marked():
    """What a browser would change is written so that it does not, or marked as lost."""
    assert escape("a\r\nb\0<") == "a&#13;\nb\ufffd&lt;"


# --- the picture


@pytest.fixture
def pyplot():
    """Give pyplot without a window, and close what a test leaves open."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


def test_bars_are_the_strongest_words(pyplot):
    """The bars are the attributions in order of strength, the strongest at the top, each with its word."""
    explanation = make("a b c d", [0.5, -2.0, 0.25, 1.0])
    display = ExplanationDisplay(explanation=explanation).plot(max_words=3)
    assert [bar.get_width() for bar in display.bars_] == [-2.0, 1.0, 0.5]
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == ["b", "d", "a"]
    assert [text.get_text() for text in display.text_] == ["\N{MINUS SIGN}2.000", "+1.000", "+0.500"]
    low, high = sorted(display.ax_.get_ylim())
    assert low < 0 < 2 < high
    assert display.ax_.yaxis_inverted()
    assert set(display.zero_line_.get_xdata()) == {0}
    against, *rest = [bar.get_facecolor() for bar in display.bars_]
    assert rest[0] == rest[1] != against
    assert display.ax_.get_title() == "'good': probability 0.70"
    assert display.ax_.get_xlabel() == "log-odds (3 strongest of 4 words)"
    assert explanation.plot(name="mine").ax_.get_title() == "mine"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", [*NASTY, None, ("a $b$", "x" * 500), "\U0001f9cc \U0010fffd"], ids=range(9))
def test_every_text_can_be_drawn(pyplot, text):
    """Emoji, formulas, control characters, no words: drawn as they are or by name, without a warning."""
    display = make(text, target="$x^", predicted="\x1b中").plot()
    display.figure_.canvas.draw()
    names = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert len(names) == len(display.bars_) == min(15, len(make(text).words))
    for name in names:
        assert name
        assert "\x1b" not in name
    assert display.figure_.get_size_inches()[0] == 6.4


def test_characters_without_a_glyph_are_named(pyplot):
    """What the font lacks stands there by its name or number; what it has, as it is."""
    display = make("🤔 中 é $5").plot()
    names = {tick.get_text() for tick in display.ax_.get_yticklabels()}
    assert {"[thinking face]", "[U+4E2D]", "é"} <= names
    assert not any(tick.get_parse_math() for tick in display.ax_.get_yticklabels())


def test_style_keywords_and_axes(pyplot):
    """A given axes is used, twice if need be; bar_kw goes to the bars, by any of matplotlib's names for it."""
    figure, ax = pyplot.subplots()
    display = make("a b").plot(ax=ax, bar_kw={"fc": "red", "alpha": 0.5, "lw": 2})
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert {bar.get_facecolor() for bar in display.bars_} == {(1.0, 0.0, 0.0, 0.5)}
    assert display.plot(ax=ax, max_words=1) is display
    assert len(display.bars_) == 1
    assert pyplot.get_fignums() == [figure.number]
    figure.canvas.draw()


def test_from_estimator_draws_what_explain_says(pyplot, monkeypatch):
    """It explains the one text, hands on method and target, and draws."""
    asked = []

    def explain(X, estimator, *, method="auto", target=None):
        asked.append((X, estimator, method, target))
        return [make(X[0])]

    monkeypatch.setattr("skbert.inspection._explain.explain", explain)
    display = ExplanationDisplay.from_estimator("model", ("a b", "c"), method="m", target="t", max_words=2, name="n")
    assert asked == [([("a b", "c")], "model", "m", "t")]
    assert display.explanation.text == ("a b", "c")
    assert len(display.bars_) == 2
    assert display.ax_.get_title() == "n"
    with pytest.raises(InvalidParameterError, match=r"'text' parameter of .* must be one str.*'list'"):
        ExplanationDisplay.from_estimator("model", ["a"])
    with pytest.raises(InvalidParameterError, match=r"'max_words' parameter .* an int .* Got 0 instead"):
        ExplanationDisplay.from_estimator("model", "a", max_words=0)
    assert len(asked) == 1


def test_missing_matplotlib_is_told_before_the_work(monkeypatch):
    """Without matplotlib the error names the extra to install, and nothing has been explained."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setattr("skbert.inspection._explain.explain", lambda *args, **kwargs: pytest.fail("worked in vain"))
    told = r"requires matplotlib. Install it with: pip install 'skbert\[plot\]'"
    with pytest.raises(ImportError, match=told):
        make("a").plot()
    with pytest.raises(ImportError, match=told):
        ExplanationDisplay.from_estimator("model", "a")


# --- all displays


DISPLAYS = {
    "TrainingHistoryDisplay": lambda: TrainingHistoryDisplay(
        loss_curve=np.array([3.0, 2.0]), validation_loss_curve=np.array([3.0, 2.5]), validation_scores=np.array([0, 1])
    ),
    "ExplanationDisplay": lambda: ExplanationDisplay(explanation=make("a b")),
    "AttentionDisplay": lambda: AttentionDisplay(weights=np.eye(2), column_labels=["a", "b"], row_labels=["a", "b"]),
}


@pytest.mark.parametrize("name", DISPLAYS)
def test_displays_follow_scikit_learns_pattern(pyplot, name):
    """The constructor takes keywords and draws nothing; plot draws, into new axes or given ones, and returns self."""
    display = DISPLAYS[name]()
    assert callable(type(display).from_estimator)
    with pytest.raises(TypeError, match="positional"):
        type(display)(*vars(display).values())
    assert not pyplot.get_fignums()
    assert not hasattr(display, "ax_")
    copied = pickle.loads(pickle.dumps(copy.deepcopy(display)))
    assert vars(copied).keys() == vars(display).keys()

    assert display.plot() is display
    assert display.figure_ is display.ax_.figure
    first = display.ax_
    figure, ax = pyplot.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.ax_ is not first
    display.plot(ax=ax).figure_.canvas.draw()
    assert len(pyplot.get_fignums()) == 2


def test_the_example_runs_and_writes_nothing(minilm, pyplot, tmp_path):
    """It explains tweets put away, by both methods, and leaves no file behind."""
    example = Path(__file__).parents[1] / "examples" / "plot_explanation.py"
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert "Warning" not in done.stderr.replace("FigureCanvasAgg is non-interactive", "")
    total, difference = re.search(
        r"integrated_gradients: sum (\S+), difference from the baseline (\S+)", done.stdout
    ).groups()
    assert abs(float(total) - float(difference)) <= 0.02 * max(1, abs(float(difference)))
    assert list(tmp_path.iterdir()) == []
