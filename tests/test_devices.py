"""Which device and which dtype, without a GPU at hand: its driver is played by a stand-in."""

from __future__ import annotations

import contextlib
import ctypes
import threading

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, release_models
from skbert._engine import devices, stack
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert._engine.spec import Unit
from skbert._engine.table import tabulate
from skbert.exceptions import DeviceError

GPU = torch.device("cuda", 0)


class Driver:
    """Answers as NVIDIA's driver does: 0 is success, results are written to where a pointer says."""

    def __init__(self, capability, status=0):
        self.attributes = dict(zip((75, 76), capability, strict=True))
        self.status = status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGet(self, device, index):
        device._obj.value = 40 + index
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        assert device.value == 40
        value._obj.value = self.attributes[attribute]
        return 0


@pytest.fixture(autouse=True)
def unasked():
    """Let each test ask anew."""
    devices._compute_capability.cache_clear()
    yield
    devices._compute_capability.cache_clear()


def refuse(*_):
    """Stand for what sets CUDA up."""
    raise AssertionError("torch was asked, which sets CUDA up")


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16)]
)
def test_auto_dtype_is_known_without_setting_cuda_up(monkeypatch, capability, expected):
    """The identity of vectors, and with it what a store holds of them, can be known in a process without the GPU."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(capability))
    monkeypatch.setattr(torch.cuda, "get_device_capability", refuse)
    assert devices.resolve_dtype("auto", [GPU]) is expected


def test_without_the_driver_torch_is_asked(monkeypatch):
    """Another maker's GPU, or a driver that fails, is no error."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))

    def absent(name):
        raise OSError(name)

    for stand_in in (absent, lambda name: Driver((9, 0), status=100), lambda name: object()):
        monkeypatch.setattr(ctypes, "CDLL", stand_in)
        assert devices.resolve_dtype("auto", [GPU]) is torch.float16


def test_a_cpu_makes_float32_of_auto():
    """One dtype for all devices, since it is part of a vector's identity."""
    assert devices.resolve_dtype("auto", [torch.device("cpu")]) is torch.float32
    assert devices.resolve_dtype("auto", [GPU, torch.device("cpu")]) is torch.float32


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:3"])
def test_a_fork_may_name_a_gpu_that_it_cannot_have(monkeypatch, name):
    """Its texts may all be in a store: that the GPU is out of reach is said when it is needed, not before."""
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    (device,) = devices.resolve_devices(name, "BertEmbedder")
    assert device == torch.device("cuda", 3 if name == "cuda:3" else 0)
    with pytest.raises(DeviceError, match=f"device='{device}' cannot be used in this process .* forked"):
        get_encoder(None, device, torch.float32)


@pytest.mark.parametrize("allowed", ["high", "medium", "highest"])
def test_float32_is_exact_though_the_user_allows_less(tiny_bert_folder, monkeypatch, allowed):
    """Processors with bfloat16 or TF32 units would use them in float32; the user's switch stays where it was."""
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", cache=None)
    expected = embedder.transform(["a", "the cup is full"])
    switch, seen, run = torch.backends.mkldnn.matmul, [], stack.LayerStack.run

    def watched(*args, **kwargs):
        seen.append(switch.fp32_precision)
        return run(*args, **kwargs)

    monkeypatch.setattr(stack.LayerStack, "run", watched)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(allowed)
    try:
        setting = switch.fp32_precision
        assert np.array_equal(embedder.transform(["a", "the cup is full"]), expected)
        assert seen == ["ieee"]
        assert switch.fp32_precision == setting
    finally:
        torch.set_float32_matmul_precision(before)
        switch.fp32_precision = "none"  # as it was: torch sets it, and never takes it back


@contextlib.contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "a default device": lambda: torch.device("meta"),
    "a default dtype": double_by_default,
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_users_modes_of_torch_change_nothing(tiny_bert_folder, mode, loaded):
    """Vectors are float32 vectors, wherever the call stands, and whether or not the model is loaded there."""
    texts = ["the cup is full", "a"]
    expected = BertEmbedder(tiny_bert_folder, device="cpu", cache=None).transform(texts)
    if not loaded:
        release_models()
    with MODES[mode]():
        found = BertEmbedder(tiny_bert_folder, device="cpu", cache=None).transform(texts)
    assert np.array_equal(found, expected)


def test_threads_that_compute_at_once_stay_exact_together(tiny_bert_folder, monkeypatch):
    """The one that ends first does not put the user's switch back while another computes."""
    switch, run, seen = torch.backends.mkldnn.matmul, stack.LayerStack.run, []
    both, ended = threading.Barrier(2), threading.Event()

    def slow(*args, **kwargs):
        if threading.current_thread().name == "last":
            both.wait(20)
            ended.wait(20)
        elif threading.current_thread().name == "first":
            both.wait(20)
        seen.append(switch.fp32_precision)
        return run(*args, **kwargs)

    def compute(encoder):
        encoder.run(tabulate([[5, 6, 7]], [None], encoder.template, 16, "truncate")[0], [Unit(2, "mean")])
        if threading.current_thread().name == "first":
            ended.set()

    encoders = [get_encoder(resolve_model(tiny_bert_folder), torch.device("cpu"), torch.float32, k) for k in (0, 1)]
    monkeypatch.setattr(stack.LayerStack, "run", slow)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        threads = [
            threading.Thread(target=compute, args=(encoder,), name=name)
            for encoder, name in zip(encoders, ("first", "last"), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert seen == ["ieee", "ieee"]
        assert switch.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)
        switch.fp32_precision = "none"


def test_a_general_switch_goes_on_to_hold(tiny_bert_folder):
    """What the user allows for all of torch is not pinned to matrix products, so that he can take it back."""
    before = torch.backends.fp32_precision
    torch.backends.fp32_precision = "tf32"
    try:
        BertEmbedder(tiny_bert_folder, device="cpu", cache=None).transform(["a"])
        torch.backends.fp32_precision = "ieee"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        torch.backends.fp32_precision = before
