"""Tiny random models of many families, with tokenizers that fit them, built in a fraction of a second."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.deberta_v2.tokenization_deberta_v2 import DebertaV2Tokenizer
from transformers.models.mpnet.tokenization_mpnet import MPNetTokenizer
from transformers.models.roberta.tokenization_roberta import RobertaTokenizer
from transformers.models.xlm_roberta.tokenization_xlm_roberta import XLMRobertaTokenizer

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "modernbert", "mpnet", "deberta-v2")
MAX_TOKENS = 64  # special ones counted

WORDS = """
a about after again all also always am an and angry any are as asked at awful back bad be because been before being
best better between big bit both boring but by call came can candidate candidates caught cat change class clear clown
come country could crowd dark day debate did disaster do dog does done down economy election end enough even ever every
evening everyone facts fair false far fast few first for fox from fun funny future gave get give go going good got great
had happy has hate have he heard her here him his home honest hope host house how i if important in instead into is it
its job join jokes just keep kind know last late laugh leader less let lie lies like little live long look lost lot love
made make man many may me media men might minute moderator money more most moved much must my name need never new news
next nice night no nobody not nothing now of off ok old on once one only open or other our out over party people place
plan play please point policy poor president problem promise proud question questions quiet quite rather read ready real
really right room run sad said same saw say says see sense she short should show side since so some someone soon speech
stage stand start state still stop strong sure take talk tax team tell terrible than thank thanks that the their them
then there they thing things think this those thought tie time tired to today told tonight too truth tv two under until
up us user url very viewers voice vote voter voters wait wall want war was watch watching way we week well went were
what when where which while white who whole why will win winner with without woman women won words work world worst
would wrong year yes yet you your
""".split()
PIECES = (
    "##al ##an ##ed ##en ##er ##es ##est ##ful ##ing ##ion ##ity ##less ##ly ##ment ##n ##ness ##ous ##s ##t".split()
)


def build_tiny_model(
    folder: str | Path, family: str = "bert", seed: int = 0, *, std: float = 0.3, **config: Any
) -> Path:
    """Write a random model with its fast tokenizer to `folder`, as ``save_pretrained`` does, and return the folder.

    Two layers (three for ModernBERT, one of them global), 32 wide, four
    heads, room for 64 tokens. The matrices have the standard deviation `std`:
    with BERT's own 0.02 the hidden states would hardly depend on attention,
    and mistakes there would not show. The same seed gives the same weights;
    torch's global generator is left alone.

    `config` overrides entries of the model's configuration.
    """
    folder = Path(folder)
    tokenizer = _TOKENIZERS[family]()
    tokenizer.save_pretrained(folder)

    settings = {**_settings(family, tokenizer), **config}
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_config(AutoConfig.for_model(family, **settings))
    _randomise(model, seed, std)
    model.save_pretrained(folder)
    return folder


def _settings(family: str, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        # in these families the first position is padding_idx + 1
        "max_position_embeddings": MAX_TOKENS + 2 * (family in ("roberta", "xlm-roberta", "mpnet")),
    }
    if family == "distilbert":
        return settings | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    if family == "electra":
        return settings | names | {"embedding_size": 16}  # smaller than the hidden size, as in the published models
    if family in ("roberta", "xlm-roberta"):
        return settings | names | {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
    if family == "modernbert":
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep")}
        ends = {"bos_token_id": special["cls_token_id"], "eos_token_id": special["sep_token_id"]}
        # layer 0 sees every token, layers 1 and 2 four to each side
        return settings | names | special | ends | {"num_hidden_layers": 3, "local_attention": 8}
    if family == "deberta-v2":  # as in DeBERTa v3
        relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16}
        norm = {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False}
        return settings | names | relative | norm | {"max_relative_positions": -1, "type_vocab_size": 0}
    return settings | names


@torch.no_grad()
def _randomise(model: torch.nn.Module, seed: int, std: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(std * noise)
        elif name.endswith("weight"):  # of a LayerNorm
            parameter.copy_(1 + 0.1 * noise)
        else:
            parameter.copy_(0.1 * noise)


def _wordpiece(*special: str) -> dict[str, int]:
    letters = string.ascii_lowercase + string.digits
    entries = [*special, *letters, *string.punctuation, *(f"##{letter}" for letter in letters), *PIECES, *WORDS]
    return {entry: number for number, entry in enumerate(dict.fromkeys(entries))}


def _bert_tokenizer() -> PreTrainedTokenizerFast:
    vocab = _wordpiece("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=MAX_TOKENS)


def _mpnet_tokenizer() -> PreTrainedTokenizerFast:
    vocab = _wordpiece("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    return MPNetTokenizer(vocab=vocab, model_max_length=MAX_TOKENS)


def _byte_pairs(*special: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 2, trainer)
    return tokenizer


def _roberta_tokenizer() -> PreTrainedTokenizerFast:
    trained = json.loads(_byte_pairs("<s>", "<pad>", "</s>", "<unk>", "<mask>").to_str())["model"]
    merges = [tuple(merge) for merge in trained["merges"]]
    return RobertaTokenizer(vocab=trained["vocab"], merges=merges, model_max_length=MAX_TOKENS)


def _modernbert_tokenizer() -> PreTrainedTokenizerFast:
    special = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    tokenizer = _byte_pairs(*special.values())
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in special.items()},
    )


def _pieces(*special: str) -> list[tuple[str, float]]:
    letters = [f"{start}{sign}" for start in ("▁", "") for sign in string.printable[:94]]
    rare = dict.fromkeys(["▁", *letters, *(piece[2:] for piece in PIECES)], -8.0)
    words = {f"▁{word}": -4.0 for word in WORDS}
    return [*((token, 0.0) for token in special), *(rare | words).items()]


def _xlm_roberta_tokenizer() -> PreTrainedTokenizerFast:
    vocab = [*_pieces("<s>", "<pad>", "</s>", "<unk>"), ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocab, model_max_length=MAX_TOKENS)


def _deberta_tokenizer() -> PreTrainedTokenizerFast:
    vocab = [*_pieces("[PAD]", "[CLS]", "[SEP]", "[UNK]"), ("[MASK]", 0.0)]
    tokenizer = DebertaV2Tokenizer(vocab=vocab, unk_id=3, model_max_length=MAX_TOKENS)
    # That of transformers 5.0 puts no special tokens around a text where there is no file that says so.
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


_TOKENIZERS = {
    "bert": _bert_tokenizer,
    "distilbert": _bert_tokenizer,
    "electra": _bert_tokenizer,
    "mpnet": _mpnet_tokenizer,
    "roberta": _roberta_tokenizer,
    "modernbert": _modernbert_tokenizer,
    "xlm-roberta": _xlm_roberta_tokenizer,
    "deberta-v2": _deberta_tokenizer,
}
