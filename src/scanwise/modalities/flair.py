"""Fluid-attenuated inversion recovery (FLAIR): T2 weighting without the signal of fluid, read by echo trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from torch import Tensor

from scanwise.design import register_modality
from scanwise.modalities._cartesian import LineScan, LineSettings
from scanwise.physics import EchoTrain, inversion_recovery


@register_modality("flair")
class Flair(LineScan):
    """Inversion recovery with a turbo spin echo readout; shots are lines of k-space.

    Magnetisation recovers between the end of one train and the next inversion, so TR in the equation of
    `inversion_recovery` is the repetition time less the train.

    Parameters
    ----------
    name, settings : see `LineScan` and `SimulatedScan`.
    repetition_time_s : TR [s].
    inversion_time_s : TI, see `null_inversion_time_s` [s].
    echo_time_s : effective TE, a multiple of the echo spacing [s].
    echo_spacing_s : time between echoes [s].
    train_length : echoes, and so lines, per train.

    Raises
    ------
    ScanwiseError
        If the effective echo time is no echo of the train, the train does not fit in the matrix, or inversion time and
        train do not fit in TR.
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s")
    train: EchoTrain

    def __init__(
        self,
        name: str,
        *,
        repetition_time_s: float = 9.0,
        inversion_time_s: float = 2.5,
        echo_time_s: float = 0.12,
        echo_spacing_s: float = 0.01,
        train_length: int = 16,
        **settings: Unpack[LineSettings],
    ) -> None:
        self.inversion_time_s = float(inversion_time_s)
        super().__init__(
            name,
            train={
                "length": train_length,
                "spacing_s": echo_spacing_s,
                "effective_echo_time_s": echo_time_s,
                "repetition_time_s": repetition_time_s,
            },
            **settings,
        )

    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the magnitude at the effective echo time, blurred by the echo train, ``(patients, 1, y, x)``."""
        image = inversion_recovery(
            proton_density=tissue["proton_density"],
            t1_s=tissue["t1_s"],
            t2_s=tissue["t2_s"],
            inversion_time_s=self.inversion_time_s,
            repetition_time_s=self.train.repetition_time_s - self.train.length * self.train.spacing_s,
            echo_time_s=self.train.effective_echo_time_s,
        )
        return self.at_resolution(image, tissue["t2_s"])

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the inversion time and the timing of the echo train; see `LineScan`."""
        return {
            "sequence": "inversion recovery turbo spin echo",
            **super().console(counts),
            "inversion_time_s": self.inversion_time_s,
        }

    @classmethod
    def example(cls) -> Self:
        """Return a scan whose lines run along x."""
        return cls(
            "example_flair",
            train_length=5,
            echo_time_s=0.03,
            matrix=(12, 17),
            phase_axis="x",
            snr=80.0,
            reference_voxel_mm3=150.0,
            seconds=180.0,
            money_per_minute=6.5,
            setups=["scanner"],
            schemes=["variable_density", "low_resolution"],
        )
