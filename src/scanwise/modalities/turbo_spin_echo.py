"""T2-weighted imaging with a turbo spin echo: shots are lines of k-space, taken in echo trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

from torch import Tensor

from scanwise.design import register_modality
from scanwise.modalities._cartesian import LineScan, LineSettings
from scanwise.physics import EchoTrain, turbo_spin_echo


@register_modality("turbo_spin_echo")
class TurboSpinEcho(LineScan):
    """T2-weighted turbo spin echo (PI-RADS: T2W).

    Parameters
    ----------
    name, settings : see `LineScan` and `SimulatedScan`.
    repetition_time_s : TR [s].
    echo_time_s : effective TE, a multiple of the echo spacing [s].
    echo_spacing_s : time between echoes [s].
    train_length : echoes, and so lines, per train.

    Raises
    ------
    ScanwiseError
        If the effective echo time is no echo of the train, or the train does not fit in TR or the matrix.
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s")
    train: EchoTrain

    def __init__(
        self,
        name: str,
        *,
        repetition_time_s: float = 4.0,
        echo_time_s: float = 0.1,
        echo_spacing_s: float = 0.0125,
        train_length: int = 16,
        **settings: Unpack[LineSettings],
    ) -> None:
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
        """Return the image at the effective echo time, blurred by the echo train, ``(patients, 1, y, x)``."""
        return self.at_resolution(turbo_spin_echo(**tissue, train=self.train), tissue["t2_s"])

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the timing of the echo train; see `LineScan`."""
        return {"sequence": "turbo spin echo", **super().console(counts)}

    @classmethod
    def example(cls) -> Self:
        """Return a scan with an odd and an even number of voxels, in trains that do not divide the lines."""
        return cls(
            "example_t2w",
            train_length=4,
            echo_time_s=0.025,
            matrix=(15, 12),
            snr=60.0,
            reference_voxel_mm3=150.0,
            seconds=90.0,
            money_per_minute=6.5,
            setups=["scanner"],
            schemes=["equispaced", "partial_fourier"],
        )
