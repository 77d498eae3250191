"""Composing the configuration, with every mistake explained; light, so that the shell answers at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import scanwise.config  # registers the schema
from scanwise.errors import ScanwiseError, did_you_mean

_HERE = Path(__file__).resolve().parent
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parents[1] / "conf"
"""The configuration: inside an installed package, or beside ``src`` in a checkout."""


def compose_config(overrides: list[str], config_dir: Path | None = None, *, sweep: bool = False) -> DictConfig:
    """Compose and check the configuration; every mistake is a `ScanwiseError` that says what to type instead.

    Parameters
    ----------
    overrides : as on the command line, ``["experiment=heart", "budget.money=200"]``.
    config_dir : a folder with further configuration.
    sweep : whether a value may list several choices; then the first of them is checked.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ScanwiseError(f"--config-dir must be a folder, but {config_dir.as_posix()!r} is none")
    parsed = _parse(overrides)
    texts = [_first_choice(override) if sweep else str(override.input_line) for override in parsed]
    roots = [CONF] + ([config_dir] if config_dir else [])
    groups = {path.relative_to(root).as_posix() for root in roots for path in root.rglob("*") if path.is_dir()}
    selections = [text for text, override in zip(texts, parsed, strict=True) if override.key_or_group in groups]
    for override, text in zip(parsed, texts, strict=True):
        if override.key_or_group in groups and not override.is_delete():
            _check_option(override.key_or_group, text.partition("=")[2], roots)
    base = _compose(selections, config_dir)
    known = sorted(_keys(OmegaConf.to_container(base, resolve=False)))
    for override in parsed:
        key = override.key_or_group
        free = override.is_add() or override.is_force_add() or key.startswith("hydra.") or key in groups
        if not free and key not in known:
            raise ScanwiseError(
                f"there is no setting {key!r}", did_you_mean(key, known if "." in key else [*groups, *known])
            )
    return _compose(texts, config_dir)


def _compose(overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    search = [f"hydra.searchpath=[file://{config_dir.resolve().as_posix()}]"] if config_dir else []
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            return compose("config", overrides=[*overrides, *search])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{Path(mark.name).name}, line {mark.line + 1}" if mark else "a configuration file"
        raise ScanwiseError(
            f"{where} is not valid YAML: {getattr(error, 'problem', error)}", "mend that line"
        ) from error
    except (HydraException, OmegaConfBaseException, ConfigCompositionException) as error:
        raise ScanwiseError(*_explain(error)) from error


def _explain(error: BaseException) -> tuple[str, str]:
    """Turn an error of Hydra or OmegaConf into what is wrong and where."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in f"{error}\n{root}".splitlines() if line.strip()]
    key = next((line.partition(":")[2].strip() for line in lines if line.startswith("full_key")), "")
    telling = [line for line in lines if not line.endswith("raised while composing config:")]
    first = next((line for line in telling if line.startswith(("Key ", "Value "))), telling[0] if telling else "")
    unknown = re.match(r"Key '(?P<key>[^']+)' (?:not in|is not in struct)", first)
    if unknown:
        known = _keys(OmegaConf.to_container(OmegaConf.structured(scanwise.config.Config), resolve=False))
        return f"there is no setting {key or unknown['key']!r}", did_you_mean(key or unknown["key"], known)
    return f"{first}{f' (setting {key})' if key and key not in first else ''}", "scanwise --cfg job shows every setting"


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ScanwiseError(
            f"{error.override!r} cannot be read as a setting: {str(error).splitlines()[0]}",
            "write key=value, e.g. budget.money=200; quote values with commas or spaces",
        ) from error


def _first_choice(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    first = next(iter(override.sweep_string_iterator()))
    return f"{override.get_key_element()}={first}"


def _check_option(group: str, option: str, roots: Sequence[Path]) -> None:
    options = {path.stem for root in roots for path in (root / group).glob("*.yaml")}
    if option == "null":
        raise ScanwiseError(
            f"{group} must be one of {', '.join(sorted(options))}, but is null", f"~{group} leaves it out"
        )
    if option.strip("'\"") not in options:
        raise ScanwiseError(f"there is no {group} called {option!r}", did_you_mean(option, options))


def _keys(node: Any, at: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            path = f"{at}.{key}" if at else str(key)
            yield path
            yield from _keys(value, path)


def read_values(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``key=value`` arguments in the grammar of Hydra: numbers, words, ``[lists]``.

    Raises
    ------
    ScanwiseError
        Where an argument is no ``key=value``, or a key is there twice.
    """
    values: dict[str, Any] = {}
    for override in _parse(arguments):
        key = override.key_or_group
        if override.is_add() or override.is_delete() or override.is_sweep_override():
            raise ScanwiseError(f"{override.input_line!r} must be one key=value", "no +, ~ or lists of choices here")
        if key in values:
            raise ScanwiseError(f"{key!r} is there twice", "give it once")
        values[key] = override.value()
    return values


def setting_names(overrides: Sequence[str]) -> list[str]:
    """Return the names of the settings in overrides: ``["+budget.money=3"]`` -> ``["budget.money"]``."""
    return [override.lstrip("+~").partition("=")[0] for override in overrides]
