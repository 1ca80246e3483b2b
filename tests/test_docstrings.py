"""The examples in the public docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import skbert

NAMES = [name for name in skbert.__all__ if "datasets" not in name]


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_a_public_name_run(name, minilm, capsys):
    """Each public name has examples, on the real model where they need one, and each gives what is printed."""
    public = getattr(skbert, name)
    module = importlib.import_module(public.__module__)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (examples,) = finder.find(public, name, module=inspect.getmodule(public) or module, globs={})
    assert examples.examples
    runner.run(examples)
    assert runner.failures == 0, capsys.readouterr().out
