"""T1-weighted imaging, with or without contrast agent: shots are lines of k-space, each after its own excitation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from torch import Tensor

from scanwise.design import register_modality
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.modalities._cartesian import LineScan, LineSettings
from scanwise.modalities._contrast import KINETIC_MAPS, contrast_millimolar, kinetic_table, t2star_s
from scanwise.physics import relaxation_with_contrast_s, spin_echo, spoiled_gradient_echo

_SEQUENCES = ("spoiled_gradient_echo", "spin_echo")


@register_modality("t1w")
class T1Weighted(LineScan):
    """T1-weighted spoiled gradient echo or spin echo; shots are lines of k-space.

    Parameters
    ----------
    name, settings : see `LineScan` and `SimulatedScan`.
    sequence : ``"spoiled_gradient_echo"`` or ``"spin_echo"``.
    repetition_time_s, echo_time_s : TR and TE [s].
    flip_angle_deg : excitation of the gradient echo [degrees]; a spin echo excites by 90.
    post_contrast_s : time from the arrival of the contrast agent to this scan [s]; `None` is a scan without it.
    contrast_setup : name of the set-up that injects the agent, shared with other scans; goes with `post_contrast_s`.
    dose_mmol_per_kg : injected dose.
    r1_per_millimolar_s, r2_per_millimolar_s : relaxivities for T1 and for T2 or T2* [1/(mM s)].
    r2_prime_per_s : what field inhomogeneity adds to 1 / T2 in a gradient echo [1/s].

    Raises
    ------
    ScanwiseError
        If TE > TR, or one of `post_contrast_s` and `contrast_setup` is given without the other.
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s")

    def __init__(
        self,
        name: str,
        *,
        sequence: str = "spoiled_gradient_echo",
        repetition_time_s: float = 0.15,
        echo_time_s: float = 0.0025,
        flip_angle_deg: float = 70.0,
        post_contrast_s: float | None = None,
        contrast_setup: str | None = None,
        dose_mmol_per_kg: float = 0.1,
        r1_per_millimolar_s: float = 4.5,
        r2_per_millimolar_s: float = 5.5,
        r2_prime_per_s: float = 15.0,
        **settings: Unpack[LineSettings],
    ) -> None:
        if sequence not in _SEQUENCES:
            raise ScanwiseError(
                f"the sequence of {name!r} must be one of {list(_SEQUENCES)}, but is {sequence!r}",
                did_you_mean(sequence, _SEQUENCES),
            )
        if (post_contrast_s is None) != (contrast_setup is None):
            raise ScanwiseError(
                f"{name!r} must have both post_contrast_s and contrast_setup or neither, but got {post_contrast_s=} "
                f"and {contrast_setup=}",
                "a scan after contrast needs the set-up that pays for the injection",
            )
        self.sequence = sequence
        self.repetition_time_s = float(repetition_time_s)
        self.echo_time_s = float(echo_time_s)
        self.flip_angle_rad = math.radians(flip_angle_deg)
        self.post_contrast_s = post_contrast_s
        self.dose_mmol_per_kg = float(dose_mmol_per_kg)
        self.r1_per_millimolar_s = float(r1_per_millimolar_s)
        self.r2_per_millimolar_s = float(r2_per_millimolar_s)
        self.r2_prime_per_s = float(r2_prime_per_s)
        if post_contrast_s is not None and contrast_setup is not None:
            self._kinetics = kinetic_table((float(post_contrast_s),), arrival_s=0.0, dose_mmol_per_kg=dose_mmol_per_kg)
            self.maps = (*self.maps, *KINETIC_MAPS)
            settings["setups"] = [*settings.get("setups", ()), contrast_setup]
        super().__init__(name, **settings)

    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the image, enhanced by what has reached the tissue, ``(patients, 1, y, x)``."""
        t1_s, t2_s = tissue["t1_s"], tissue["t2_s"]
        if self.post_contrast_s is not None:
            agent = contrast_millimolar(self._kinetics, tissue, arterial_scale)[..., 0]
            t1_s, t2_s = (
                relaxation_with_contrast_s(
                    native_s=native_s, concentration_millimolar=agent, relaxivity_per_millimolar_s=relaxivity
                )
                for native_s, relaxivity in ((t1_s, self.r1_per_millimolar_s), (t2_s, self.r2_per_millimolar_s))
            )
        if self.sequence == "spin_echo":
            image = spin_echo(
                proton_density=tissue["proton_density"],
                t1_s=t1_s,
                t2_s=t2_s,
                repetition_time_s=self.repetition_time_s,
                echo_time_s=self.echo_time_s,
            )
        else:
            image = spoiled_gradient_echo(
                proton_density=tissue["proton_density"],
                t1_s=t1_s,
                t2star_s=t2star_s(t2_s, self.r2_prime_per_s),
                flip_angle_rad=self.flip_angle_rad,
                repetition_time_s=self.repetition_time_s,
                echo_time_s=self.echo_time_s,
            )
        return self.at_resolution(image, t2_s)

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return TR, TE, the flip angle and when the scan starts after contrast; see `LineScan`."""
        settings = {
            "sequence": self.sequence.replace("_", " "),
            **super().console(counts),
            "repetition_time_s": self.repetition_time_s,
            "echo_time_s": self.echo_time_s,
            "flip_angle_deg": round(math.degrees(self.flip_angle_rad), 9) if self.sequence == _SEQUENCES[0] else 90.0,
        }
        if self.post_contrast_s is not None:
            settings |= {"after_contrast_s": float(self.post_contrast_s), "dose_mmol_per_kg": self.dose_mmol_per_kg}
        return settings

    @classmethod
    def example(cls) -> Self:
        """Return a scan after contrast."""
        return cls(
            "example_t1w",
            post_contrast_s=180.0,
            contrast_setup="contrast",
            matrix=(12, 15),
            snr=200.0,
            reference_voxel_mm3=150.0,
            seconds=60.0,
            money_per_minute=6.5,
            setups=["scanner"],
            schemes=["equispaced", "poisson_disc"],
        )
