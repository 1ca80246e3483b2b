"""Copies of a model that differ from it as little as can be."""

from __future__ import annotations

import json
import shutil

from safetensors.torch import load_file, save_file


def another_weight(folder, to, step=1e-3):
    """Copy a model and change one of its floats."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    weights = load_file(to / "model.safetensors")
    weights["encoder.layer.0.output.LayerNorm.bias"][5] += step
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return str(to)


def edited(folder, to, name, edit):
    """Copy a model and edit one of its JSON files."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    content = json.loads((to / name).read_text())
    edit(content)
    (to / name).write_text(json.dumps(content))
    return str(to)


def swap_words(tokenizer):
    vocab = tokenizer["model"]["vocab"]
    vocab["good"], vocab["great"] = vocab["great"], vocab["good"]


def widen_epsilon(config):
    config["layer_norm_eps"] = 0.01


NEIGHBOURS = {
    "one weight": another_weight,
    "one weight's last bits": lambda folder, to: another_weight(folder, to, 1e-6),
    "two words of the vocabulary": lambda folder, to: edited(folder, to, "tokenizer.json", swap_words),
    "the configuration": lambda folder, to: edited(folder, to, "config.json", widen_epsilon),
}
