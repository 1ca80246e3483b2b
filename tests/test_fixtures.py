"""The tests' own tools do what they say: the network is shut, the tiny models work, the guard of law 7 sees."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import anyio
import huggingface_hub
import joblib
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tests._models import FAMILIES, MAX_TOKENS, build_tiny_model

FAR = ("192.0.2.1", 80)  # TEST-NET: a documentation address, nobody's


@pytest.mark.tries_network
@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.socket().connect(FAR),
        lambda: socket.socket().connect_ex(FAR),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", FAR),
        lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
        lambda: socket.getaddrinfo("example.invalid", 80),
        lambda: socket.gethostbyname("example.invalid"),
        lambda: asyncio.run(asyncio.open_connection(*FAR)),
        lambda: anyio.run(anyio.connect_tcp, "example.invalid", 80),
    ],
    ids=["connect", "connect_ex", "sendto", "ipv6", "getaddrinfo", "gethostbyname", "asyncio", "anyio"],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_no_way_to_another_host(reach, no_network):
    """Each way to another host is refused, with words that say who did it, and is noted."""
    with pytest.raises(OSError, match="tests/no_network"):
        reach()
    assert len(no_network) == 1


@pytest.mark.tries_network
def test_the_hub_client_is_refused(no_network):
    """huggingface_hub, whatever HTTP client it has, finds no network."""
    with pytest.raises(huggingface_hub.errors.LocalEntryNotFoundError):
        huggingface_hub.hf_hub_download("nobody/nothing", "config.json")
    assert no_network


def test_child_processes_are_refused_too():
    """A second interpreter and a joblib worker find no network either."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BlockedNetworkError" in child.stderr

    def connect():  # a local function travels by value, so that the worker need not import this file
        try:
            socket.create_connection(FAR, timeout=1)
        except OSError as error:
            return str(error)

    for said in joblib.Parallel(n_jobs=2)(joblib.delayed(connect)() for _ in range(2)):
        assert "tests/no_network" in said


def test_this_machine_is_reached():
    """Loopback and Unix sockets stay open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
        thread.join()
    left, right = socket.socketpair()
    left.sendall(b"x")
    assert right.recv(1) == b"x"
    left.close()
    right.close()


def test_a_swallowed_try_fails_the_test(pytester):
    """A test whose library hides the refusal still fails; the mark `tries_network` says that it may try."""
    pytester.makeconftest(
        Path(__file__)
        .with_name("conftest.py")
        .read_text()
        .replace("HERE = Path(__file__).parent", f"HERE = Path({str(Path(__file__).parent)!r})")
    )
    pytester.makeini("[pytest]\nmarkers = tries_network")
    pytester.makepyfile(
        """
        import socket
        import pytest

        def swallow():
            try:
                socket.create_connection(("192.0.2.1", 80))
            except OSError:
                pass

        def test_unmarked():
            swallow()

        @pytest.mark.tries_network
        def test_marked():
            swallow()
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*tried to reach another host: socket.*192.0.2.1*"])


def test_the_hub_cache_is_the_tests_own(hf_home):
    """huggingface_hub looks into the tests' empty folder, and no variable takes the network from it."""
    assert Path(huggingface_hub.constants.HF_HUB_CACHE).is_relative_to(hf_home)
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_model_loads_and_reads_its_text(family, tiny_model):
    """Each family loads without missing weights, tokenises any lower-case ASCII, and depends on attention."""
    folder = tiny_model(family)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, loading = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == MAX_TOKENS

    printable = "".join(chr(code) for code in range(32, 127)).lower()
    assert tokenizer.unk_token_id not in tokenizer(printable)["input_ids"]
    pair = tokenizer("a good night", "so bad", return_special_tokens_mask=True)
    doubled = 4 if family in ("roberta", "xlm-roberta", "mpnet") else 3
    assert sum(pair["special_tokens_mask"]) == doubled

    texts = ["the debate was good tonight", "the debate was awful tonight", "a " * 100]
    with torch.no_grad():
        first, second, longest = (
            model(**tokenizer(text, truncation=True, return_tensors="pt")).last_hidden_state[0] for text in texts
        )
    assert longest.shape == (MAX_TOKENS, 32)
    assert torch.isfinite(longest).all()
    assert (first[0] - second[0]).abs().max() > 0.05, "the first token does not see the others"


def test_tiny_model_is_the_same_for_a_seed(tmp_path, global_state):
    """A seed gives the same bytes every time, another seed others, and the global generators are left alone."""
    weights = [
        (build_tiny_model(tmp_path / str(number), seed=seed) / "model.safetensors").read_bytes()
        for number, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]
    global_state.assert_unchanged()


@pytest.mark.parametrize(
    ("name", "touch"),
    [
        ("torch.get_rng_state", lambda: torch.rand(1)),
        ("np.random.get_state", lambda: np.random.rand()),  # noqa: NPY002
        ("random.getstate", random.random),
        ("warnings.filters", lambda: warnings.simplefilter("ignore")),
        ("torch.is_grad_enabled", lambda: torch.set_grad_enabled(False)),
        ("torch.get_float32_matmul_precision", lambda: torch.set_float32_matmul_precision("high")),
    ],
)
def test_global_state_sees(name, touch, global_state):
    """The guard of law 7 notices a change, and names it."""
    grad, precision = torch.is_grad_enabled(), torch.get_float32_matmul_precision()
    global_state.assert_unchanged()
    try:
        touch()
        with pytest.raises(AssertionError, match=name):
            global_state.assert_unchanged()
    finally:
        torch.set_grad_enabled(grad)
        torch.set_float32_matmul_precision(precision)


def test_global_state_sees_the_environment(global_state, monkeypatch):
    """A new environment variable and another number of threads are noticed, and may be let pass by name."""
    monkeypatch.setitem(os.environ, "SKBERT_TEST", "1")
    with pytest.raises(AssertionError, match=r"os\.environ"):
        global_state.assert_unchanged()
    global_state.assert_unchanged(ignore=("os.environ",))
