"""The vocabulary: shots, set-ups, costs, schemes, modalities, menus, protocols. numpy only."""

from scanwise.design.angle_schemes import GoldenAngle, GoldenViews, LimitedAngle, SparseViews
from scanwise.design.cost import COST_AXES, Budget, Cost, amount
from scanwise.design.data import (
    Column,
    Fold,
    MeasuredData,
    PatientData,
    Patients,
    ProductScorer,
    Scorer,
    panel_features,
)
from scanwise.design.imaging import TISSUE_MAPS, ImagingModality, Scene
from scanwise.design.lattice import Product, random_counts, random_protocol, relative_lengths, settings_of
from scanwise.design.line_schemes import (
    Equispaced,
    GaussianDensity,
    LowResolution,
    PartialFourier,
    PoissonDisc,
    VariableDensity,
)
from scanwise.design.menu import BillItem, Menu, parts_of_today, subsets_of_today
from scanwise.design.modality import Measurement, Modality, modality_kinds, register_modality
from scanwise.design.pattern import SamplingPattern, sampling_pattern
from scanwise.design.protocol import Protocol
from scanwise.design.scheme import Parameter, Scheme, Setting, Subset, Whole, make_scheme, register_scheme, schemes
from scanwise.design.series_schemes import Averages, FirstN, KtLattice, KtRandom
from scanwise.design.shot_kinds import (
    ANY_SHOTS,
    B_VALUES,
    DYNAMIC_LINES,
    FRAMES,
    GOLDEN_ANGLE_RAD,
    LINES,
    PHASE_ENCODES,
    SPOKES,
    VIEWS,
    ShotKind,
)
from scanwise.design.shots import Setup, ShotTable
from scanwise.design.volume_schemes import PoissonDisc2D, VariableDensity2D
from scanwise.design.words import capitalised, listed

__all__ = [
    "ANY_SHOTS",
    "B_VALUES",
    "COST_AXES",
    "DYNAMIC_LINES",
    "FRAMES",
    "GOLDEN_ANGLE_RAD",
    "LINES",
    "PHASE_ENCODES",
    "SPOKES",
    "TISSUE_MAPS",
    "VIEWS",
    "Averages",
    "BillItem",
    "Budget",
    "Column",
    "Cost",
    "Equispaced",
    "FirstN",
    "Fold",
    "GaussianDensity",
    "GoldenAngle",
    "GoldenViews",
    "ImagingModality",
    "KtLattice",
    "KtRandom",
    "LimitedAngle",
    "LowResolution",
    "MeasuredData",
    "Measurement",
    "Menu",
    "Modality",
    "Parameter",
    "PartialFourier",
    "PatientData",
    "Patients",
    "PoissonDisc",
    "PoissonDisc2D",
    "Product",
    "ProductScorer",
    "Protocol",
    "SamplingPattern",
    "Scene",
    "Scheme",
    "Scorer",
    "Setting",
    "Setup",
    "ShotKind",
    "ShotTable",
    "SparseViews",
    "Subset",
    "VariableDensity",
    "VariableDensity2D",
    "Whole",
    "amount",
    "capitalised",
    "listed",
    "make_scheme",
    "modality_kinds",
    "panel_features",
    "parts_of_today",
    "random_counts",
    "random_protocol",
    "register_modality",
    "register_scheme",
    "relative_lengths",
    "sampling_pattern",
    "schemes",
    "settings_of",
    "subsets_of_today",
]
