"""Kinds of modality, one file each; a new file here that registers its class is all it takes."""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every file of this package, so that all kinds of modality are registered."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


__all__ = ["load_all"]
