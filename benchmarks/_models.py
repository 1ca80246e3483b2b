"""The models that the benchmarks run: the packaged one, BERT base and large with random weights, and a tiny one.

    python benchmarks/_models.py --write-half FOLDER

writes all-MiniLM-L6-v2 to FOLDER with its weights stored as float16, half the size, for a machine that has no package
of it; give that folder to the benchmarks with --model-folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import safetensors.torch
import torch
import transformers
from _corpora import make_words

from skbert._engine.sources import resolve_model

MINILM = "all-MiniLM-L6-v2"
# Hidden size, layers, heads, intermediate size. Speed does not depend on the weights' values, so random ones will do.
SHAPES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096)}
NAMES = {"minilm": MINILM, "base": "BERT base (random weights)", "large": "BERT large (random weights)"}
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def minilm_folder(given=None):
    """Return the folder of all-MiniLM-L6-v2: the one given, or that of the installed package."""
    return Path(given) if given else Path(resolve_model(MINILM).folder)


def model_folder(name, scratch, given=None):
    """Return the folder of a model, written to `scratch` where its weights are random."""
    if name == "minilm":
        return minilm_folder(given)
    folder = Path(scratch) / name
    if not folder.is_dir():
        write_random(name, folder, minilm_folder(given))
    return folder


def write_random(name, folder, like):
    """Write a random BERT of this shape with the tokenizer of the model `like`, which pools as that one does."""
    width, layers, heads, intermediate = SHAPES[name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(like, local_files_only=True)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    for part in (*_TOKENIZER, "modules.json"):
        if (like / part).is_file():
            shutil.copyfile(like / part, folder / part)
    pooling = json.loads((like / "1_Pooling/config.json").read_text()) | {"word_embedding_dimension": width}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    settings = {"max_seq_length": 512, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))


def write_tiny(folder, width=384, max_length=64):
    """Write a random BERT of one thin layer, with a tokenizer that knows the made words, and return the folder."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *make_words()]
    vocab = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    transformers.BertTokenizer(vocab=vocab, model_max_length=max_length).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocab),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=6,
        intermediate_size=64,
        max_position_embeddings=max_length,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def stored_dtype(folder):
    """Return how the weights are stored, for the row."""
    with safetensors.safe_open(Path(folder) / "model.safetensors", framework="pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 - not a dict
    return "/".join(sorted(kinds - {"I64"}))


def write_half(folder):
    """Write all-MiniLM-L6-v2 with float16 weights to `folder`."""
    source, folder = minilm_folder(), Path(folder)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors", "README.md", "data_config.json"))
    weights = safetensors.torch.load_file(source / "model.safetensors")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    safetensors.torch.save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-half", metavar="FOLDER", required=True)
    write_half(parser.parse_args().write_half)
