"""What of a cohort is used: the modalities and shots that the menu offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scanwise.design import Menu
from scanwise.errors import ScanwiseError, did_you_mean


def on_menu(held: Mapping[str, Sequence[str]], menu: Menu) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Choose what the menu offers out of what a cohort holds.

    Parameters
    ----------
    held : shot names per modality, in the order of the cohort.
    menu : what is on offer.

    Returns
    -------
    Shot names per modality in the order of the menu, and what the menu lacks as ``"modality.shot"``.

    Raises
    ------
    ScanwiseError
        If the menu offers a modality or a shot that the cohort does not hold.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for name, modality in menu.modalities.items():
        if name not in held:
            raise ScanwiseError(
                f"the menu offers {name!r}, but the cohort has no such modality", did_you_mean(name, held)
            )
        for shot in modality.shots.names:
            if shot not in held[name]:
                raise ScanwiseError(
                    f"the menu offers {name}.{shot}, but the cohort has no such shot", did_you_mean(shot, held[name])
                )
        chosen[name] = modality.shots.names
    left_out = [f"{name}.{shot}" for name, shots in held.items() for shot in shots if shot not in chosen.get(name, ())]
    return chosen, left_out
