"""The keys of vectors: what differs in any way has another namespace or another key. No model, no store."""

from __future__ import annotations

import dataclasses

from hypothesis import given, strategies as st

from skbert._engine.spec import EncoderSpec, Unit, text_key

few = st.text('ab\0"\\,:é😀', max_size=4)  # so few letters that coincidences would come
numbers = st.integers(0, 12)
FIELDS = {
    "weights": few,
    "config": few,
    "tokenizer": few,
    "max_length": numbers,
    "long_texts": st.sampled_from(["truncate", "head_tail", "chunk"]),
    "prompt": few,
    "dtype": st.sampled_from(["float32", "float16", "bfloat16"]),
    "format": numbers,
}
units = st.builds(Unit, numbers, st.sampled_from(["mean", "cls", "max", "pooler"]))
specs = st.builds(EncoderSpec, **FIELDS, units=st.tuples(units))


@given(specs, units, st.sampled_from(sorted(FIELDS)), st.data())
def test_a_spec_that_differs_in_one_field_has_another_namespace(spec, unit, name, data):
    """Every field counts, whatever the others are; asking for other units does not."""
    value = data.draw(FIELDS[name].filter(lambda value: value != getattr(spec, name)))
    assert dataclasses.replace(spec, **{name: value}).namespace(unit) != spec.namespace(unit)
    assert dataclasses.replace(spec, units=(unit, unit)).namespace(unit) == spec.namespace(unit)
    moved = unit._replace(layer=unit.layer + 1)
    assert spec.namespace(moved) != spec.namespace(unit)


@given(specs, units, few, few, few)
def test_nothing_passes_from_one_field_of_a_spec_to_another_unseen(spec, unit, a, b, c):
    """Fields whose texts, put end to end, coincide, make other namespaces all the same."""
    names = [name for name, strategy in FIELDS.items() if strategy is few]
    moved = {
        dataclasses.replace(spec, units=(), **{first: left, second: right})
        for first in names
        for second in names
        if first != second
        for left, right in [(a + b, c), (a, b + c), (a + b + c, ""), ("", a + b + c)]
    }
    assert len({each.namespace(unit) for each in moved}) == len(moved)


@given(few | st.text(max_size=20), few | st.text(), few)
def test_keys_coincide_only_for_equal_texts(a, b, c):
    """Texts and pairs of the same characters in the same order, or nearly, each have their own key."""
    texts = [a, b, c, a + b, a + b + c, a + "\0", "\0" + a, a + " ", a + "\0" + b, a.upper()]
    texts += [f"{len(a)}{a}{b}", len(a.encode()).to_bytes(8, "little").decode() + a + b]  # as a pair begins
    pairs = [(a, b), (b, a), (a + b, c), (a, b + c), (a + b, ""), ("", a + b), (a, b + "\0"), (a + "\0", b), (a, a)]
    keys = [text_key(item) for item in [*texts, *pairs]]
    assert len(set(keys)) == len({*texts, *pairs})
    assert all(len(key) == 16 for key in keys)


def test_two_halves_of_a_character_are_not_the_character_in_a_prompt():
    """A prompt that is no text has no vectors, least of all those of another prompt."""
    spec = EncoderSpec("w", "c", "t", 16, "truncate", "😀", "float32", (Unit(2, "mean"),))
    halves = dataclasses.replace(spec, prompt="\ud83d\ude00")
    assert halves != spec
    assert halves.namespace(Unit(2, "mean")) != spec.namespace(Unit(2, "mean"))
