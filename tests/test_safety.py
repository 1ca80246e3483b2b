"""What comes with a model is data: nothing of it is run, and nothing that it names is fetched to be run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import transformers.integrations.hub_kernels as hub_kernels
import transformers.modeling_utils as modeling_utils

from skbert import BertEmbedder, release_models
from skbert.exceptions import ModelFilesError
from tests.test_laws import sentences

TEXTS = sentences(4)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_a_kernel_that_the_configuration_names_is_not_asked_for(tiny_bert_folder, tmp_path, monkeypatch, key):
    """With the package `kernels` installed, transformers would download and run what config.json names."""
    folder = Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: "somebody/some-kernel"}))
    asked = []

    def load(*args, **kwargs):
        asked.append(args)
        return ""

    for module in (hub_kernels, modeling_utils):
        for name, stand_in in (("load_and_register_attn_kernel", load), ("is_kernels_available", lambda *args: True)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, stand_in)
    release_models()
    vectors = BertEmbedder(folder, cache=None, device="cpu").transform(TEXTS)
    assert asked == []
    assert vectors.shape == (4, 32)


def test_quantised_weights_are_refused(tiny_bert_folder, tmp_path):
    """transformers would import whatever library the configuration asks for."""
    folder = Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(ModelFilesError, match="'quantization_config'"):
        BertEmbedder(folder, cache=None, device="cpu").fit(TEXTS)


def test_an_adapter_beside_the_weights_is_refused(tiny_bert_folder, tmp_path):
    """With peft installed transformers would change the weights by it, under the fingerprint of those without."""
    folder = Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))
    embedder = BertEmbedder(folder, cache=None, device="cpu").fit(TEXTS)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    release_models()
    with pytest.raises(ModelFilesError, match=r"adapter_config\.json.*merge_and_unload"):
        embedder.transform(TEXTS)


def test_code_beside_a_model_is_not_run(tiny_bert_folder, tmp_path):
    """`auto_map` names a class in a Python file; the file is never imported."""
    folder = Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    remote = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": "evil.Tokenizer"}}
    (folder / "config.json").write_text(json.dumps({**config, **remote}))
    mark = tmp_path / "was run"
    (folder / "evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nclass Config: ...\nModel = Tokenizer = Config\n"
    )
    release_models()
    assert BertEmbedder(folder, cache=None, device="cpu").transform(TEXTS).shape == (4, 32)
    assert not mark.exists()
