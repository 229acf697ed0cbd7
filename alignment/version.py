"""The suite's version, as `alignment.__version__` and `align --version` tell it.  No torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

SOURCE_VERSION = "0.1.0"  # pyproject.toml's, for a source tree that is not installed


def installed_version() -> str:
    """The installed distribution's version; the source's where there is none."""
    try:
        return version("llama2-alignment-suite")
    except PackageNotFoundError:
        return SOURCE_VERSION


__version__ = installed_version()
