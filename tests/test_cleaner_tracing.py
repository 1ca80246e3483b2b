"""Cleaning that keeps account of where each character came from: its laws, on any text and with any parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import ftfy
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from skbert import TextCleaner
from skbert._cleaner import encoding, rules
from skbert._cleaner.encoding import trace_encoding
from skbert._cleaner.spans import compose, differences
from skbert.datasets import load_sample_tweets
from skbert.exceptions import InvalidParameterError, TextInputError
from tests import test_cleaner
from tests.test_cleaner import ADVERSARIAL, ALL_OFF, DROPPING, FRAGMENTS, PARAMS

MORE_FRAGMENTS = st.sampled_from(
    [
        *("donâ€™t", "ðŸ˜‚", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "voilÃ ", "Ã la", "â€�", "\ufeff", "\r\n"),
        *(
            "“quoted”",
            "ＬＯＵＤ",
            "ﾀﾞ",
            "e\u0301\u0323",
            "한",
            "\u1112\u1161\u11ab",
            "שלום",
            "مرحبا",
            "漢字",
            "\u0bc6\u0bbe",
        ),
        *(
            "👨\u200d👩\u200d👧",
            "👍🏽👍🏽👍🏽👍🏽👍🏽",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "🇺🇸🇩🇪",
        ),
        *(
            "&amp;amp;lt;",
            "&amp;#64;",
            "&fjlig;",
            "&#65286;#65286;#65286;#65286;",
            'RT "RT "RT "RT @a@b@c@d',
            "@a1:30@b1:30@c1:30",
        ),
        *(
            "\u2028",
            "\u2029",
            "\u3000",
            "\x1c",
            " \t ",
            "Sooooo",
            "!!!!!!",
            "#GOPDebate2016_now",
            "https://t.co/a?b=cccc",
            "İİ",
        ),
    ]
)
TEXTS = st.one_of(st.lists(st.one_of(FRAGMENTS, MORE_FRAGMENTS), max_size=12).map("".join), test_cleaner.TEXTS)
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLAIN_WORD = "plain\u0416word"


def check_laws(text: str, cleaned: str, spans: np.ndarray) -> None:
    """Check what holds for the spans of any text."""
    assert spans.dtype == np.int64
    assert spans.shape == (len(cleaned), 2)
    starts, ends = spans[:, 0], spans[:, 1]
    assert (starts >= 0).all()
    assert (ends <= len(text)).all()
    assert (starts <= ends).all()
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    put_in = {char for char, start, end in zip(cleaned, starts, ends, strict=True) if start == end}
    assert put_in <= {" "}, "only a blank may come from nothing"


def is_from(char: str, source: str) -> bool:
    """Say whether a character is another one left alone, case and kind of white space aside."""
    return char == source or char in source.lower() or (char == " " and source.isspace())


def trace(text: str, **params: object) -> list[tuple[str, str]]:
    """Return the cleaned text in pieces, and what each came from; characters left alone make one piece together."""
    cleaned, spans = TextCleaner(**params)._trace(text)
    assert cleaned == TextCleaner(**params).transform([text])[0]
    check_laws(text, cleaned, spans)
    pieces: list[tuple[str, str]] = []
    last = (0, 0)
    was_alone = False
    for char, (start, end) in zip(cleaned, spans.tolist(), strict=True):
        is_alone = text[start:end] == char
        if pieces and is_alone and was_alone and last[1] == start:
            pieces[-1] = (pieces[-1][0] + char, pieces[-1][1] + char)
        elif pieces and start < end and (start, end) == last:
            pieces[-1] = (pieces[-1][0] + char, pieces[-1][1])
        else:
            pieces.append((char, text[start:end]))
        last, was_alone = (start, end), is_alone
    return pieces


def as_examples(test):
    """Add each text that is known to be hard, with the defaults and with nearly everything dropped."""
    for text in ADVERSARIAL:
        test = example(text=text, params={})(test)
        test = example(text=text, params={**DROPPING, "repeated_chars": 1, "case": "lower"})(test)
    return test


class TestAnyText:
    """What holds for every text and every combination of parameters."""

    @MANY
    @given(text=TEXTS, params=PARAMS)
    @as_examples
    def test_text_is_that_of_transform_and_spans_keep_order(self, text, params):
        """Tracing cleans exactly as transform does, and its spans lie in the text, in order."""
        cleaner = TextCleaner(**params)
        cleaned, spans = cleaner._trace(text)
        assert cleaned == cleaner.transform([text])[0]
        check_laws(text, cleaned, spans)

    @MANY
    @given(text=TEXTS, params=PARAMS)
    @as_examples
    def test_a_clean_text_is_its_own_source(self, text, params):
        """Where cleaning changes nothing, character i came from character i."""
        cleaner = TextCleaner(**params)
        cleaned = cleaner.transform([text])[0]
        again, spans = cleaner._trace(cleaned)
        assert again == cleaned
        assert spans.tolist() == [[k, k + 1] for k in range(len(cleaned))]

    @MANY
    @given(text=TEXTS, params=PARAMS)
    @as_examples
    def test_a_span_of_one_holds_the_very_character(self, text, params):
        """What came from one character is that character, case aside, if nothing replaces single characters."""
        params = {**params, "fix_encoding": False, "numbers": "keep", "emoji": "drop"}
        cleaned, spans = TextCleaner(**params)._trace(text)
        for char, (start, end) in zip(cleaned, spans.tolist(), strict=True):
            assert end - start != 1 or is_from(char, text[start])

    @MANY
    @given(before=TEXTS, behind=TEXTS, params=PARAMS)
    def test_a_plain_word_is_its_own_source(self, before, behind, params):
        """Whatever stands around a plain word, each of its letters came from itself."""
        text = f"{before} {PLAIN_WORD} {behind}"
        cleaned, spans = TextCleaner(**params)._trace(text)
        place = re.search(f"(?i){PLAIN_WORD}", cleaned).start()
        start = len(before) + 1
        assert spans[place : place + len(PLAIN_WORD)].tolist() == [
            [start + k, start + k + 1] for k in range(len(PLAIN_WORD))
        ]

    @MANY
    @given(
        before=TEXTS,
        behind=TEXTS,
        params=PARAMS,
        token=st.sampled_from(
            [
                ("https://t.co/Qz", "urls", "link"),
                ("@Qz_7", "mentions", "user"),
                ("16,000.5", "numbers", "number"),
                ("🦑", "emoji", "squid"),
                ("🤷🏽\u200d♀️", "emoji", "shrug"),
                ("&amp;", "html_entities", "&"),
                ("&amp;amp;lt;", "html_entities", "<"),
            ]
        ),
    )
    def test_what_replaces_a_token_came_from_all_of_it(self, before, behind, params, token):
        """Every character of a replaced token's word has the token's span, and nothing else reaches into it."""
        shown, parameter, word = token
        action = {"emoji": "name", "html_entities": "unescape"}.get(parameter, "replace")
        # Where a mark goes the handle goes with it; words that are dropped are another matter, and so are marks.
        params = {**params, "retweet_marks": "keep", "stop_words": None, "punctuation": "keep", parameter: action}
        before += " |"  # ftfy takes a blank behind some letters for the half of another
        text = f"{before} {shown} {behind}"
        cleaned, spans = TextCleaner(**params)._trace(text)
        start, end = len(before) + 1, len(before) + 1 + len(shown)
        touching = [
            k for k, (first, stop) in enumerate(spans.tolist()) if first < stop and first < end and stop > start
        ]
        assert "".join(cleaned[k] for k in touching) == word
        assert [spans[k].tolist() for k in touching] == [[start, end]] * len(word)

    @MANY
    @given(
        before=TEXTS,
        behind=TEXTS,
        params=PARAMS,
        token=st.sampled_from(
            [
                ("https://t.co/Qz", "urls"),
                ("@Qz_7", "mentions"),
                ("16,000.5", "numbers"),
                ("🤷🏽\u200d♀️🦑", "emoji"),
                ("#QzTag_7", "hashtags"),
            ]
        ),
    )
    def test_nobody_claims_what_was_dropped(self, before, behind, params, token):
        """A dropped token is in no span."""
        shown, parameter = token
        before += " |"  # ftfy takes a blank behind some letters for the half of another
        text = f"{before} {shown} {behind}"
        _, spans = TextCleaner(**{**params, parameter: "drop"})._trace(text)
        start, end = len(before) + 1, len(before) + 1 + len(shown)
        assert not ((spans[:, 0] < spans[:, 1]) & (spans[:, 0] < end) & (spans[:, 1] > start)).any()

    @given(text=TEXTS, params=PARAMS)
    @settings(max_examples=200, deadline=None)
    def test_a_text_that_does_not_settle_is_traced_too(self, text, params):
        """Where the bound on rounds cuts a text down to its letters, the laws hold as well."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rules, "_MAX_ROUNDS", 1)
            cleaner = TextCleaner(**params)
            cleaned, spans = cleaner._trace(text)
            assert cleaned == cleaner.transform([text])[0]
            check_laws(text, cleaned, spans)

    @pytest.mark.parametrize("params", [{}, {**DROPPING, "stop_words": "english"}], ids=["defaults", "dropping"])
    def test_long_monotonous_texts(self, params):
        """The laws hold however often one thing is repeated."""
        for unit in test_cleaner.TestTime.UNITS:
            text = unit * (2_000 // len(unit)) + "!"
            cleaner = TextCleaner(**params)
            cleaned, spans = cleaner._trace(text)
            assert cleaned == cleaner.transform([text])[0], unit
            check_laws(text, cleaned, spans)


class Case(NamedTuple):
    """A text, the parameters, and which pieces of the cleaned text came from what."""

    text: str
    pieces: list[tuple[str, str]]
    params: Mapping[str, object] = MappingProxyType({})


GAP = (" ", "")
FLAG_OF_ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
CASES = {
    "tokens in a row stay apart": Case(
        "@ann @bob 😂 #Tag &amp; x",
        [
            ("user", "@ann"),
            (" ", " "),
            ("user", "@bob"),
            (" ", " "),
            ("face with tears of joy", "😂"),
            (" ", " "),
            ("Tag ", "Tag "),
            ("&", "&amp;"),
            (" x", " x"),
        ],
    ),
    "tokens that touch stay apart": Case(
        "@ann😂https://t.co/x",
        [("user", "@ann"), GAP, ("face with tears of joy", "😂"), GAP, ("link", "https://t.co/x")],
    ),
    "hashtag": Case(
        "a #GOPDebate_2016!",
        [("a ", "a "), ("GOP", "GOP"), GAP, ("Debate", "Debate"), GAP, ("2016!", "2016!")],
    ),
    "hashtag of many marks": Case("##हिन्दीBest", [("हिन्दी", "हिन्दी"), GAP, ("Best", "Best")]),
    "hashtag as a word": Case("#GOPDebate", [("GOPDebate", "GOPDebate")], {"hashtags": "word"}),
    "repeated letters": Case("Sooooo!!", [("Soo", "Soo"), ("o", "ooo"), ("!!", "!!")]),
    "repeated letters of a word that may be dropped": Case(
        "Sooooo aaaa",
        [("S", "S"), ("o", "ooooo"), (" ", " "), ("a", "aaaa")],
        {"repeated_chars": 1, "stop_words": ["x"]},
    ),
    "row of emoji": Case(
        "😂😂👍🏽x",
        [
            ("face with tears of joy", "😂"),
            GAP,
            ("face with tears of joy", "😂"),
            GAP,
            ("thumbs up", "👍🏽"),
            GAP,
            ("x", "x"),
        ],
    ),
    "row of one emoji": Case(
        "👍🏽👍🏽👍🏽👍🏽", [("thumbs up", "👍🏽"), GAP, ("thumbs up", "👍🏽👍🏽👍🏽")], {"repeated_chars": 2}
    ),
    "row of one kept emoji": Case(
        "👍🏽👍🏽👍🏽🇺🇸", [("👍", "👍"), ("🏽", "🏽👍🏽👍🏽"), ("🇺🇸", "🇺🇸")], {"repeated_chars": 1, "emoji": "keep"}
    ),
    "emoji of many characters": Case(
        f"👨\u200d👩\u200d👧 7️⃣ {FLAG_OF_ENGLAND} 🇩🇪",
        [
            ("man woman girl", "👨\u200d👩\u200d👧"),
            (" ", " "),
            ("7", "7️⃣"),
            (" ", " "),
            ("england flag", FLAG_OF_ENGLAND),
            (" ", " "),
            ("de flag", "🇩🇪"),
        ],
    ),
    "a name of which a word is dropped": Case(
        "😂 a", [("face with tears of ", "😂"), ("a", "a")], {"stop_words": ["joy"]}
    ),
    "a word that replaces a word": Case("7️⃣", [("number", "7️⃣")], {"numbers": "replace"}),
    "entities": Case("a&amp;amp;lt;b &eacute;", [("a", "a"), ("<", "&amp;amp;lt;"), ("b ", "b "), ("é", "&eacute;")]),
    "an entity of two characters": Case("&fjlig;", [("fj", "&fjlig;")]),
    "an entity made of an entity and text": Case("x&lt&semi;y", [("x", "x"), ("<", "&lt&semi;"), ("y", "y")]),
    "a chain of entities": Case("x&#65286;#65286;#65286;#65286;", [("x", "x"), ("&", "&#65286;#65286;#65286;#65286;")]),
    "a handle behind an entity": Case("&#64;ann", [("user", "&#64;ann")]),
    "mojibake": Case(
        "I donâ€™t canâ€™t",
        [("I don", "I don"), ("'", "â€™"), ("t can", "t can"), ("'", "â€™"), ("t", "t")],
    ),
    "mojibake beside letters of another script": Case(
        "한 Ð¿Ñ€ Ã©",
        [("한 ", "한 "), ("п", "Ð¿"), ("р", "Ñ€"), (" ", " "), ("é", "Ã©")],
    ),
    "mojibake twice": Case("x Ã¢â‚¬â„¢s", [("x ", "x "), ("'", "Ã¢â‚¬â„¢"), ("s", "s")]),
    "mojibake of a lost blank": Case("voilÃ le", [("voil", "voil"), ("à", "Ã"), (" le", " le")]),
    "what ftfy sets right": Case(
        "“a” ＬＯ ﬁn e\u0301t",
        [
            ('"', "“"),
            ("a", "a"),
            ('"', "”"),
            (" ", " "),
            ("L", "Ｌ"),
            ("O", "Ｏ"),
            (" ", " "),
            ("fi", "ﬁ"),
            ("n ", "n "),
            ("é", "e\u0301"),
            ("t", "t"),
        ],
    ),
    "marks that change places": Case("xe\u0301\u0323y", [("x", "x"), ("ẹ\u0301", "e\u0301\u0323"), ("y", "y")]),
    "letters of Korean": Case(
        "\u1112\u1161\u11ab\u1100\u1161b", [("한", "\u1112\u1161\u11ab"), ("가", "\u1100\u1161"), ("b", "b")]
    ),
    "commands that hold what stands beside them": Case("b\x1b[3bb\x1b[3b-", [("b", "b"), ("b", "b"), ("-", "-")]),
    "controls, commands and line ends": Case(
        "a\x00b\x1b[31mc\r\nd",
        [("a", "a"), ("b", "b"), ("c", "c"), ("\n", "\r\n"), ("d", "d")],
        {"emoji": "keep", "whitespace": "keep"},
    ),
    "white space": Case(" a \u2028\tb\n", [("a ", "a "), ("b", "b")]),
    "case that takes room": Case("aİB", [("a", "a"), ("i̇", "İ"), ("b", "B")], {"case": "lower", "fix_encoding": False}),
    "dropped between words": Case(
        "a,b @x c http://d e",
        [("a", "a"), GAP, ("b ", "b "), ("c ", "c "), ("e", "e")],
        {"punctuation": "drop", "mentions": "drop", "urls": "drop"},
    ),
    "a blank put in beside one that stood there": Case(
        "a,😂 b", [("a", "a"), (" b", " b")], {"punctuation": "drop", "emoji": "drop"}
    ),
    "retweet mark": Case("RT @ann: hi", [("hi", "hi")]),
    "retweet marks in retweet marks": Case('rt "rt "rt "rt @a@b@c@d@e x', [("user", "@e"), (" x", " x")]),
    "a chain of mentions": Case(
        "@b1:30@c1:30@d x",
        [
            ("user", "@b1"),
            (":", ":"),
            GAP,
            ("number", "30"),
            GAP,
            ("user", "@c1"),
            (":", ":"),
            GAP,
            ("number", "30"),
            GAP,
            ("user", "@d"),
            (" x", " x"),
        ],
        {"numbers": "replace"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    """Each kind of change tells what came from what, exactly."""
    case = CASES[name]
    assert trace(case.text, **case.params) == case.pieces


def test_handles_left_over_by_retweet_marks_are_the_last_ones():
    """Of handles that look alike the one that stays is traced to its own place."""
    text = 'rt "rt "rt @dc@d@c@d x'
    cleaned, spans = TextCleaner()._trace(text)
    assert cleaned == "user x"
    assert spans[:4].tolist() == [[len(text) - 4, len(text) - 2]] * 4


def test_nothing_on_is_the_text_itself():
    """A cleaner with all off traces each character to itself, whatever it is."""
    text = "RT @a: “x” &amp; 😂\x00\r\n İ  "
    cleaned, spans = TextCleaner(**ALL_OFF)._trace(text)
    assert cleaned == text
    assert spans.tolist() == [[k, k + 1] for k in range(len(text))]


def test_the_empty_text():
    """A text of nothing, or of which nothing is left, has no spans."""
    for text in ("", " ", "RT @a:"):
        cleaned, spans = TextCleaner()._trace(text)
        assert cleaned == ""
        assert spans.shape == (0, 2)


def test_parameters_are_checked():
    """Tracing refuses a wrong parameter as transform does."""
    with pytest.raises(InvalidParameterError, match="urls"):
        TextCleaner(urls="ring")._trace("text")


def test_texts_are_checked():
    """Tracing refuses what is no text as transform does: half a character, a number."""
    for wrong in ("a \ud83d", 7):
        with pytest.raises(TextInputError) as refused:
            TextCleaner().transform([wrong])
        with pytest.raises(TextInputError, match=re.escape(str(refused.value))):
            TextCleaner()._trace(wrong)


def test_words_of_real_tweets_are_found_where_they_stand():
    """In the sample tweets every word that stands in both texts is traced to itself."""
    cleaner = TextCleaner(emoji="drop")
    n_words = 0
    for text in load_sample_tweets().data:
        cleaned, spans = cleaner._trace(text)
        assert cleaned == cleaner.transform([text])[0]
        check_laws(text, cleaned, spans)
        for word in re.finditer("[A-Za-z]+", cleaned):
            start, end = spans[word.start(), 0], spans[word.end() - 1, 1]
            if word.group() in {"link", "user"}:
                assert text[start:end].startswith(("http", "@", "www", "pic", "ht")) or text[start:end] == word.group()
            elif end - start == len(word.group()):
                assert text[start:end] == word.group()
                n_words += 1
            else:
                assert re.sub(r"(.)\1{3,}", r"\1\1\1", text[start:end]) == word.group()
    assert n_words > 1000


class TestEncoding:
    """What ftfy changes is followed step by step."""

    @MANY
    @given(text=TEXTS)
    def test_it_is_what_ftfy_makes(self, text):
        """The traced text is that of ftfy."""
        fixed, ranges = trace_encoding(text)
        assert fixed == ftfy.fix_text(text, unescape_html=False)
        assert ranges.shape == (len(fixed), 2)

    @MANY
    @given(before=TEXTS, behind=TEXTS)
    def test_its_steps_lead_where_ftfy_went(self, before, behind):
        """The steps taken again give what ftfy gave, so that the comparison of the whole line is never needed."""
        for line in (before + behind).splitlines():
            fixed, plan = ftfy.fix_and_explain(line, unescape_html=False)
            assert encoding._replay(line, plan)[0] == fixed

    def test_another_ftfy_is_followed_by_comparison(self, monkeypatch):
        """Where the steps do not lead to what ftfy made of a line, the two are compared."""
        monkeypatch.setattr(encoding, "_replay", lambda line, plan: ("something else", None))
        fixed, ranges = trace_encoding("I donâ€™t “say” so\nnever")
        assert fixed == 'I don\'t "say" so\nnever'
        kept = {6: 8, 7: 9, 9: 11, 14: 16, 17: 19}
        assert {place: ranges[place, 0] for place in kept} == kept
        assert ranges[5].tolist() == [5, 8]

    def test_halves_of_a_character_are_put_together(self):
        """What ftfy makes of two halves came from both, and of one from that."""
        fixed, ranges = trace_encoding("a\ud83d\ude02\ud83d")
        assert fixed == "a😂\ufffd"
        assert ranges.tolist() == [[0, 1], [1, 3], [3, 4]]


class TestDifferences:
    """Two texts of which nothing else is known are laid side by side."""

    @MANY
    @given(before=st.text("ab ", max_size=60), after=st.text("ab ", max_size=60))
    def test_ranges_keep_order(self, before, after):
        """There is a range for each character, all lie in the text before, and they keep the order."""
        ranges = np.array(differences(before, after), dtype=np.int64).reshape(-1, 2)
        assert ranges.shape == (len(after), 2)
        assert (ranges >= 0).all()
        assert (ranges <= len(before)).all()
        assert (ranges[:, 0] <= ranges[:, 1]).all()
        assert (np.diff(ranges, axis=0) >= 0).all()

    @MANY
    @given(made=st.lists(st.sampled_from(["keep", "drop", "other"]), min_size=1, max_size=5))
    def test_what_stayed_is_found(self, made):
        """Words that are all different are found again behind others that were taken out or changed."""
        before, after, expected = "", "", {}
        for word, what in zip(("abc", "def", "ghi", "jkl", "mno"), made, strict=False):
            if what == "keep":
                expected |= {len(after) + k: (len(before) + k, len(before) + k + 1) for k in range(3)}
            after += {"keep": word, "drop": "", "other": word.upper()[:2]}[what] + "\n"
            before += word + "\n"
        ranges = differences(before, after)
        assert {place: ranges[place] for place in expected} == expected

    def test_what_is_too_far_apart_is_shared_out(self):
        """Where no likeness is near, the rest is shared out evenly."""
        ranges = differences("a" + "b" * 60 + "z", "a" + "c" * 30 + "z")
        assert ranges == [(0, 1), *((1 + 2 * k, 3 + 2 * k) for k in range(30)), (61, 62)]


def test_compose_attaches_what_was_put_in():
    """A blank put between two things is empty and between them; put into the midst of one, it belongs to that."""
    spans = np.array([[2, 3], [5, 9], [5, 9], [9, 9], [12, 13]])
    got = compose(spans, [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (1, 3), (3, 5), (5, 5)])
    expected = [[2, 2], [2, 3], [3, 3], [5, 9], [5, 9], [5, 9], [9, 9], [5, 9], [9, 13], [13, 13]]
    assert got.tolist() == expected
    assert compose(np.zeros((0, 2), dtype=np.int64), [(0, 0)]).tolist() == [[0, 0]]
