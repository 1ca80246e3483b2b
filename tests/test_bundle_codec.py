"""What goes into a bundle's JSON and arrays comes out the same, to the bit and of the same type."""

from __future__ import annotations

import json
import math
import string
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import numpy as safetensors

from skbert import HeadClassifier
from skbert._bundle.codec import Reader, Writer
from skbert.exceptions import BundleError


def through(value):
    """Return `value` after JSON text and safetensors bytes."""
    writer = Writer(lambda part, where: pytest.fail(f"{where} is no estimator"))
    text = json.dumps(writer.write(value, "value"), allow_nan=False)
    kept = safetensors.load(safetensors.save(writer.arrays))
    return Reader(kept, lambda number, where: pytest.fail("no part was written")).read(json.loads(text))


def is_same(a, b):
    """Say whether two values are of one type and the same to the bit, sign of zero and NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind in ("O", "T"):
            return all(is_same(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
        return a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b) if a == a else b != b
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(map(is_same, a.values(), b.values()))
    return a == b


TEXT = st.text(st.characters(), max_size=8)  # lone surrogates among them
NUMERIC = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
PLAIN = st.none() | st.booleans() | st.integers() | st.integers(10**18, 10**30) | st.floats() | TEXT
SCALARS = NUMERIC.flatmap(lambda dtype: arrays.from_dtype(dtype)).filter(lambda value: isinstance(value, np.generic))
TEXTS = SHAPES.flatmap(lambda shape: arrays.arrays("U6", shape, elements=st.text(string.printable, max_size=6)))
OBJECTS = SHAPES.flatmap(lambda shape: arrays.arrays(object, shape, elements=PLAIN))
ARRAYS = st.tuples(NUMERIC, SHAPES).flatmap(lambda pair: arrays.arrays(*pair)) | TEXTS | OBJECTS
KEYS = st.booleans() | st.integers() | TEXT | st.tuples(st.integers(), TEXT) | st.none()
VALUES = st.recursive(
    PLAIN | SCALARS | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(VALUES)
def test_a_value_comes_back(value):
    """Any nesting of plain values, collections, scalars and arrays."""
    assert is_same(through(value), value)


@settings(deadline=None, max_examples=50)
@given(st.tuples(NUMERIC, SHAPES).flatmap(lambda pair: arrays.arrays(*pair)), st.data())
def test_an_array_in_any_layout_comes_back(array, data):
    """Transposed, reversed, strided: the numbers are those at the same places, and the columns' order is kept."""
    view = data.draw(st.sampled_from([array.T, array[::-1] if array.ndim else array, np.asfortranarray(array)]))
    found = through(view)
    assert is_same(found, view)
    assert found.flags.writeable
    if view.size and view.flags.f_contiguous and not view.flags.c_contiguous:
        assert found.flags.f_contiguous


def test_an_array_that_is_there_twice_is_one_array():
    """It is kept once, and is one again: HeadClassifier's mean is in two of its attributes."""
    array = np.arange(3.0)
    first, second = through([array, array])
    assert first is second
    assert through([array, array.copy()])[0] is not through([array])[0]


def test_a_set_is_written_in_one_order():
    """0 and 8 collide in a small set, so that it lists them as they came; the file is the same."""
    first, second = set([0, 8]), set([8, 0])  # noqa: C405
    assert list(first) != list(second)
    writer = Writer(lambda part, where: 0)
    assert writer.write(first, "value") == writer.write(second, "value")


def test_an_int_of_any_length_comes_back():
    """Python refuses to read more than 4,300 decimal digits."""
    assert through([10**5000, -(10**5000), 2**53, -(2**53)]) == [10**5000, -(10**5000), 2**53, -(2**53)]


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy below 2")
def test_numpys_new_strings_come_back():
    """Labels may be of this dtype."""
    texts = np.array(["a", "", "zwölf"], dtype=np.dtypes.StringDType())
    assert is_same(through(texts), texts)


class Flag(int):
    """An int that is more than an int."""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.random.RandomState(0), "RandomState"),
        (np.random.default_rng(0), "Generator"),
        (lambda x: x, "function"),
        (object(), "object"),
        (HeadClassifier, "ABCMeta|type"),
        (OrderedDict(a=1), "OrderedDict"),
        (Flag(1), "Flag"),
        (1j, "complex"),
        (b"bytes", "bytes"),
        (np.longdouble(1), "longdouble|float"),
        (np.array([1j]), "ndarray"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "ndarray"),
        (np.array([{}], dtype=object), "ndarray"),
        (np.ma.array([1.0], mask=[True]), "MaskedArray"),
        (np.zeros(1, dtype=[("x", float)]), "ndarray"),
    ],
    ids=lambda value: getattr(type(value), "__name__", None),
)
def test_what_cannot_be_kept_is_named_with_its_place(value, named):
    """Never kept as something like it: the error says where it is and what to do."""
    writer = Writer(lambda part, where: pytest.fail("this is no estimator"))
    with pytest.raises(BundleError, match=rf"^head\['x'\]\[0\] is an? ({named}).*Set it to something plain"):
        writer.write({"x": [value]}, "head")


def test_the_place_is_in_the_users_words():
    """A parameter of a step is named as one would write it."""
    from sklearn.pipeline import make_pipeline

    writer = Writer(lambda part, where: 0)
    pipeline = make_pipeline(HeadClassifier(random_state=np.random.RandomState(0)))
    with pytest.raises(BundleError, match=r"^Pipeline\['headclassifier'\]\.random_state is a RandomState"):
        writer.write(pipeline, "Pipeline")
