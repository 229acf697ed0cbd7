"""Files that would run code if they were trusted; each makes its canary if it ever runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.canary,))


def pickled(canary: Path) -> bytes:
    """A plain pickle that runs."""
    return pickle.dumps({"state_dict": Payload(canary)})


def torch_saved(canary: Path) -> bytes:
    """The same inside torch's zip format."""
    out = io.BytesIO()
    torch.save({"model.embed_tokens.weight": Payload(canary)}, out)
    return out.getvalue()


def object_array(canary: Path) -> bytes:
    """A numpy file of objects."""
    out = io.BytesIO()
    np.save(out, np.asarray([Payload(canary)], dtype=object), allow_pickle=True)
    return out.getvalue()


def zipped(canary: Path) -> bytes:
    """A zip whose member leads out of its folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../canary", "x")
    return out.getvalue()


def script(canary: Path) -> bytes:
    """A Python file that runs."""
    return f"from pathlib import Path\nPath({str(canary)!r}).touch()\n".encode()


def add_code(folder: Path, canary: Path) -> None:
    """Give a model's folder Python files that its configuration asks to be run, and a template that would run too."""
    code = script(canary) + b"class Evil:\n    pass\n"
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py"):
        (folder / name).write_bytes(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_evil.Evil",
        "AutoModelForCausalLM": "modeling_evil.Evil",
        "AutoTokenizer": ["tokenization_evil.Evil", None],
    }
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text()) if path.exists() else {}
    tokenizer["auto_map"] = {"AutoTokenizer": ["tokenization_evil.Evil", None]}
    tokenizer["chat_template"] = template(canary)
    path.write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(template(canary))


def template(canary: Path) -> str:
    """A Jinja template that reaches for Python."""
    return "{{ cycler.__init__.__globals__.os.system('touch " + str(canary) + "') }}"
