"""Physics of scanners in torch: signal equations, encoding, projections, motion, noise. Batched; SI units inside."""

from __future__ import annotations

from scanwise.physics.coils import coil_maps, combine_coils
from scanwise.physics.contrast import (
    ParkerAif,
    ToftsTable,
    blood_residue,
    contrast_enhanced_signal,
    extended_tofts,
    relaxation_with_contrast_s,
)
from scanwise.physics.diffusion import diffusion_kurtosis, diffusion_weighting
from scanwise.physics.echo_train import EchoTrain, EchoTrainBlur, echo_train_modulation, turbo_spin_echo
from scanwise.physics.encoding import CartesianEncoding
from scanwise.physics.fourier import Fourier, PartialVolume, encode_down, encode_down_adjoint, fft2c, ifft2c
from scanwise.physics.motion import Motion, MovingEncoding, rotate
from scanwise.physics.noise import (
    NoiseReference,
    add_noise,
    complex_noise,
    patient_generators,
    rician,
    rician_mean,
    rician_variance,
)
from scanwise.physics.operator import Chain, Operator
from scanwise.physics.parallel_beam import KERNELS, ParallelBeam, angular_shares
from scanwise.physics.quantum_noise import (
    add_quantum_noise,
    counted_projections,
    projection_sd,
    transmitted_photons,
)
from scanwise.physics.radial import RadialEncoding, nufft_library
from scanwise.physics.registry import (
    SignalEquation,
    operators,
    register_operator,
    register_signal_equation,
    signal_equation,
    signal_equations,
)
from scanwise.physics.relaxation import (
    balanced_ssfp,
    ernst_angle_rad,
    inversion_recovery,
    null_inversion_time_s,
    spin_echo,
    spoiled_gradient_echo,
)
from scanwise.physics.sampling import as_counts, partial_fourier_counts

__all__ = [
    "KERNELS",
    "CartesianEncoding",
    "Chain",
    "EchoTrain",
    "EchoTrainBlur",
    "Fourier",
    "Motion",
    "MovingEncoding",
    "NoiseReference",
    "Operator",
    "ParallelBeam",
    "ParkerAif",
    "PartialVolume",
    "RadialEncoding",
    "SignalEquation",
    "ToftsTable",
    "add_noise",
    "add_quantum_noise",
    "angular_shares",
    "as_counts",
    "balanced_ssfp",
    "blood_residue",
    "coil_maps",
    "combine_coils",
    "complex_noise",
    "contrast_enhanced_signal",
    "counted_projections",
    "diffusion_kurtosis",
    "diffusion_weighting",
    "echo_train_modulation",
    "encode_down",
    "encode_down_adjoint",
    "ernst_angle_rad",
    "extended_tofts",
    "fft2c",
    "ifft2c",
    "inversion_recovery",
    "nufft_library",
    "null_inversion_time_s",
    "operators",
    "partial_fourier_counts",
    "patient_generators",
    "projection_sd",
    "register_operator",
    "register_signal_equation",
    "relaxation_with_contrast_s",
    "rician",
    "rician_mean",
    "rician_variance",
    "rotate",
    "signal_equation",
    "signal_equations",
    "spin_echo",
    "spoiled_gradient_echo",
    "transmitted_photons",
    "turbo_spin_echo",
]
