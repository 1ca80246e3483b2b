"""One text alone: what skbert adds to the model's bare forward, for `transform` and for a classifier's `predict`."""

from __future__ import annotations

import statistics

import torch
import transformers
from _common import paired_ratios, timed
from _corpora import FEW
from _rates import repeats_for, synchronize

from skbert import BertSentimentClassifier


def measure_single(embedder, folder, text, options):
    """Return fields of a row: milliseconds of each way, in turn, and what they are of the bare forward.

    The bare forward is transformers' own model with the ids on the device already: no tokenizer, no pooling, no copy
    back. Nothing that starts from a text can be quicker by much.
    """
    device, rounds = options.device, options.rounds
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(
        folder, dtype=getattr(torch, options.dtype), local_files_only=True, use_safetensors=True
    )
    model.to(device).eval()
    inputs = tokenizer([text], return_tensors="pt").to(device)
    labels = ["a", "b"] * (len(FEW) // 2)
    classifier = BertSentimentClassifier(embedder, max_iter=3, random_state=0).fit(FEW, labels)

    def forward():
        with torch.inference_mode():
            model(**inputs)
        synchronize(device)

    ways = {
        "bare_forward": forward,
        "transform": lambda: embedder.transform([text]),
        "predict": lambda: classifier.predict([text]),
    }
    for way in ways.values():
        way()
    count = max(5, repeats_for(timed(forward)[0], options.enough))
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        # Call by call in turn, and medians: a call of a few milliseconds is easily hit by something else.
        calls = {name: [] for name in ways}
        for _ in range(count):
            for name, way in ways.items():
                calls[name].append(timed(way)[0])
        for name, times in calls.items():
            seconds[name].append(statistics.median(times))
    row = {f"{name}_ms": round(1e3 * statistics.median(times), 3) for name, times in seconds.items()}
    for name in ("transform", "predict"):
        row[f"{name}_to_bare_forward"], row[f"{name}_to_bare_forward_rounds"] = paired_ratios(
            seconds[name], seconds["bare_forward"]
        )
    return row
