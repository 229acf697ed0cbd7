"""What an adapter needs installed, asked before anything is trained.  No torch, and nothing is imported."""

from __future__ import annotations

import importlib.util

from alignment.errors import MissingExtra
from alignment.policy.settings import AdapterSettings


def require_adapter_packages(settings: AdapterSettings) -> None:
    """See that peft is installed, and for a base in 4 bits bitsandbytes.

    Raises:
        MissingExtra: naming the first that is not, and the extra that brings it.
    """
    for package, extra, needed in (
        ("peft", "peft", True),
        ("bitsandbytes", "qlora", settings.base_precision == "nf4"),
    ):
        if needed and importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra)
