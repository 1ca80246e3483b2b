"""Laws of the definition of near-identical texts."""

from __future__ import annotations

import html
import string
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from skbert._texts import exact_keys, near_keys
from skbert.datasets import load_gop_debate

LONG = "the moderator asked him twice about the tax plan and he only talked about"
PARTITION = """
What a debate!! | what a debate | WHAT A DEBATE… | "What a debate?" | RT @kim: What a debate! | \
RT @a: RT @b: What, a debate | what a debate via @kim | @kim @lee what a debate http://t.co/Ab1 | \
What\ta\u00a0 debate https://t.co/x?y=1#z | #What a #debate | what a debate pic.twitter.com/abc | \
Ｗｈａｔ ａ ｄｅｂａｔｅ | what a deb\u200bate | rt "@kim what a debate" | what a debate htt… | \
what a debate www.x.com/y
what a bad debate
I don't, you &amp; me | i dont you me | I don’t – you &amp;amp; me! | I DON&#39;T; YOU &#38; ME | I don`t you me
I do not you me
great :) | Great!!! :-) | great:) | “great” :)
great
great :( | GREAT :-(
great ;) | great ;-)
great :'(
great :D | great :-d
great 😀 | GREAT😀! | great &#128512; | great &#x1F600;
great 😡
great 👍 | great 👍🏿 | great 👍\ufe0f
great <3 | great &lt;3
great </3
great ^_^
great -_-
great +1
great -1
great 1 | great (1)
great 10:30 | great 10 30
??? | ???\u0020
!!!
http://t.co/a
http://t.co/b
@kim
@lee | \u0020@LEE
:) | :-)
:(
\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f
\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f
नमस्ते दुनिया | नमस्ते, दुनिया!
नमस्त दुनिया
é | e\u0301 | É
e
straße | STRASSE
\u0390 | \u03aa\u0301 | \u03b9\u0308\u0301
me@here.org | ME@here.org
see https://t.co/abc我们 | see 我们
"""
SETS = [line.split(" | ") for line in PARTITION.strip().split("\n")]


def same(*texts: object) -> bool:
    """Say whether all these are near-identical."""
    return len(set(near_keys(list(texts)).tolist())) == 1


def test_what_is_near_identical_and_what_is_not():
    """Within a line of the table all texts have one number, and no two lines have the same."""
    texts = [text for line in SETS for text in line]
    lines = np.repeat(np.arange(len(SETS)), [len(line) for line in SETS])
    np.testing.assert_array_equal(near_keys(texts), lines)


def test_empty_texts_are_identical_and_missing_ones_are_not():
    """Blanks make no difference to an empty text; each missing row has a number of its own."""
    np.testing.assert_array_equal(near_keys(["", " \n\u00a0", None, "a", None, ""]), [0, 0, 1, 2, 3, 0])
    np.testing.assert_array_equal(exact_keys(["", " ", None, "a", None, ""]), [0, 1, 2, 3, 4, 0])


def test_pairs_are_compared_side_by_side():
    """Both sides have to be near-identical, each to the same side."""
    pairs = [("A b", "c"), ("a, b!", "@kim C"), ("c", "a b"), ("a", "b c"), ("???", "c"), ("!!!", "c"), None]
    np.testing.assert_array_equal(near_keys(pairs), [0, 0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "cut",
    [
        f"RT @kim: {LONG[:60]}…",
        f"{LONG[:55]}...",
        f"{LONG[:60]}… https://t.co/abc",
        f'"{LONG[:60]}…"',
        f"{LONG[:60]} @somebo…",
        f"{LONG[:60]} http://t.co/ab…",
        f"{LONG[:60]} htt…",
        f"{LONG[:60]}&hellip;",
    ],
)
def test_a_text_cut_short_is_near_its_original(cut):
    """A text that ends in dots is the beginning of exactly one other: then they are one, in any order."""
    assert same(cut, LONG)
    assert same(LONG, cut)
    assert not same(cut.replace("asked", "told"), LONG)
    assert not same(cut, LONG.replace("asked", "told"))
    one, other, third = near_keys([cut, f"{LONG} his wife", f"{LONG} his dog"])
    assert len({one, other, third}) == 3  # whose beginning it is, nobody knows


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LONG[:60], "it has no dots"),
        (f"{LONG[:40]}…", "it is too short"),
        (f"{LONG[:60]}… he", "the dots are within"),
    ],
)
def test_what_is_not_cut_short(text, why):
    """Without the dots at its end, or in few characters, a beginning is a text of its own."""
    assert not same(text, LONG), why


def test_a_text_that_also_stands_alone_is_not_cut():
    """Where the same words are a whole text in another row, dots at their end say nothing."""
    assert near_keys([f"{LONG[:60]}…", LONG[:60], LONG]).tolist() == [0, 0, 1]


def test_cuts_of_cuts_are_one():
    """Of several cuts of one text, each goes on in the next; a text that is cut everywhere is one as well."""
    cuts = [f"{LONG[:length]}…" for length in range(52, len(LONG))]
    assert same(*cuts)
    assert same(*cuts, LONG)
    keys = near_keys([*cuts, LONG, LONG[:60].upper() + " nothing"])
    forms = [cut.removesuffix("…").strip() for cut in cuts]
    apart = [k for k, form in enumerate(forms) if len(form) <= 60]  # those that both texts go on from
    assert len(set(keys[apart])) == len({forms[k] for k in apart}) > 5
    assert set(keys[len(apart) : len(cuts)]) == {keys[len(cuts)]}


def naive_uncut(texts: list[str]) -> list[set[int]]:
    """Return the sets of rows that the rule of cut texts joins, straight from its wording; plain words only."""
    forms = {text: text.removesuffix("…") for text in texts}
    whole = {form for text, form in forms.items() if not text.endswith("…") or len(form) < 50}
    found: dict[str, str] = {}

    def original(form: str) -> str:
        if form in whole:
            return form
        if form not in found:
            found[form] = form
            later = {original(other) for other in forms.values() if other != form and other.startswith(form)}
            found[form] = later.pop() if len(later) == 1 else form
        return found[form]

    originals = [original(forms[text]) for text in texts]
    return [{row for row, other in enumerate(originals) if other == one} for one in originals]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["", "a", "b", "ab", "aa"]), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_cut_texts_are_joined_as_the_definition_says(draws):
    """The quick way over sorted forms gives what the wording gives."""
    texts = ["x" * (45 + length) + end + "…" * is_cut for length, end, is_cut in draws]
    keys = near_keys(texts)
    assert [set(np.flatnonzero(keys == key).tolist()) for key in keys] == naive_uncut(texts)


WORDS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6),
        st.sampled_from(
            ["RT", "@kim:", "via", ":)", ":-(", "<3", "&amp;", "http://t.co/a", "don't", "…", "+1", "😀", "👍🏽"]
        ),
    ),
    max_size=6,
)
BLANKS = st.sampled_from([" ", "  ", "\n", "\t ", "\u00a0", "\u2003" * 12])


@settings(max_examples=400, deadline=None)
@given(WORDS, st.data())
def test_blanks_make_no_difference(words, data):
    """Other blanks between the same words, before and after them, give a near-identical text."""
    words = [word for text in words for word in text.split()]
    # An accent joins the letter before it, and stands alone after a blank.
    spaced = data.draw(BLANKS) + "".join(word + data.draw(BLANKS) for word in words)
    assert same(" ".join(words), spaced)


@settings(max_examples=400, deadline=None)
@given(WORDS)
def test_case_makes_no_difference(words):
    """Capitals give a near-identical text, but for letters whose capital is another letter's too."""
    text = " ".join(words)
    other = text.upper()
    assume(unicodedata.normalize("NFKC", other).casefold() == unicodedata.normalize("NFKC", text).casefold())
    assert same(text, other)
    assert same(text, text.swapcase()) or text.swapcase().casefold() != text.casefold()


@settings(max_examples=300, deadline=None)
@given(WORDS)
def test_entities_make_no_difference(words):
    """A text with its marks written as HTML entities is near-identical."""
    text = " ".join(words).replace(";", "")
    assert same(text, html.escape(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=5), min_size=1, max_size=6), st.data())
def test_marks_and_handles_make_no_difference(words, data):
    """Marks between words, links, mentions and retweet marks give a near-identical text; another word does not."""
    assume(not {"rt", "via"} & set(words) and not any(word in "dposxc" for word in words))
    marks = [data.draw(st.sampled_from(["", ",", ".", " –", " @kim", " http://t.co/x.", "!!"])) for _ in words]
    text = data.draw(st.sampled_from(["", "RT @kim: ", ".@lee "])) + " ".join(map("".join, zip(words, marks)))  # noqa: B905
    assert same(" ".join(words), text)
    assert not same(" ".join([*words, "zebra"]), text)


FACES = [
    ":)",
    ":(",
    ";)",
    ":D",
    ":P",
    ":/",
    ":'(",
    "<3",
    "</3",
    "^_^",
    "-_-",
    ">_<",
    "😀",
    "😡",
    "👍",
    "👎",
    "❤",
    "💔",
    "+1",
    "-1",
]


@given(st.text(string.ascii_letters + " ,.!?#", max_size=30), st.sampled_from(FACES), st.sampled_from(FACES))
def test_faces_stay_apart(text, face, other):
    """Two texts that differ only in a face, an emoji or a vote are near-identical only if these are the same."""
    assert same(f"{text} {face}", f"{text} {other}") == (face == other)
    assert same(face, other) == (face == other)


@given(st.lists(st.one_of(st.none(), st.text("ab :).!", max_size=4)), max_size=12))
def test_numbers_are_those_of_the_first_and_follow_identity(items):
    """Numbers count from 0 in order of appearance; identical texts are near-identical; a row alone changes nothing."""
    exact, near = exact_keys(items), near_keys(items)
    for keys in (exact, near):
        firsts = list(dict.fromkeys(keys.tolist()))
        assert firsts == list(range(len(firsts)))
        assert keys.dtype == np.int64
    for row, item in enumerate(items):
        for other, thing in enumerate(items):
            assert (exact[row] == exact[other]) == (row == other or (item == thing and item is not None))
            if exact[row] == exact[other]:
                assert near[row] == near[other]
            if item is not None and thing is not None:
                assert (near[row] == near[other]) == same(item, thing)


def test_long_texts_take_no_longer_than_their_length():
    """What could make a regular expression go back and forth does not: ten times the length, about as many times."""

    def seconds(texts: list[str]) -> float:
        start = time.perf_counter()
        near_keys(texts)
        return time.perf_counter() - start

    for part in ("@", "rt ", "&amp", ":-", "http://", "-_", "[(", "a.", "^", "<3", "ht..."):
        assert seconds([part * 100_000]) < 5, part  # a square would take minutes
    assert seconds(["x" * k + "…" for k in range(50, 3_000)]) < 5


@pytest.mark.data
def test_real_tweets(data_folder):
    """Of 13,871 tweets 10,402 are different, and 9,169 but for near copies; no emoticon decides otherwise."""
    X, _ = load_gop_debate(data_folder, return_X_y=True)
    items = X.tolist()
    exact, near = exact_keys(items), near_keys(items)
    assert (len(exact), exact.max() + 1, near.max() + 1) == (13_871, 10_402, 9_169)
    assert len(set(zip(exact.tolist(), near.tolist(), strict=True))) == 10_402
