"""The examples in the public docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import skbert
import skbert.distributed
import skbert.inspection

NAMES = [f"{module.__name__}.{name}" for module in (skbert, skbert.inspection) for name in module.__all__]
ON_RAY = [f"skbert.distributed.{name}" for name in skbert.distributed.__all__]


@pytest.mark.parametrize("dotted", NAMES)
def test_examples_of_a_public_name_run(dotted, minilm, capsys):
    """Each public name has examples, on the real model where they need one, and each gives what is printed."""
    run_examples(dotted, capsys)


@pytest.mark.ray
@pytest.mark.parametrize("dotted", ON_RAY)
def test_examples_on_ray_run(dotted, minilm, capsys):
    """The same for those that need a cluster."""
    pytest.importorskip("ray")
    from tests._ray import local_cluster

    with local_cluster():
        run_examples(dotted, capsys)


def run_examples(dotted, capsys):
    """Run the examples of a docstring, and compare what they print."""
    place, _, name = dotted.rpartition(".")
    public = getattr(importlib.import_module(place), name)
    module = importlib.import_module(public.__module__)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (examples,) = finder.find(public, name, module=inspect.getmodule(public) or module, globs={})
    assert examples.examples
    runner.run(examples)
    assert runner.failures == 0, capsys.readouterr().out
