"""The vocabulary: shots, set-ups, costs, schemes, modalities, menus, protocols. numpy only."""

from scanwise.design.cost import COST_AXES, Budget, Cost, amount
from scanwise.design.data import Column, Fold, PatientData, Patients, ProductScorer, Scorer
from scanwise.design.imaging import TISSUE_MAPS, ImagingModality, Scene
from scanwise.design.lattice import Product, random_counts, random_protocol, settings_of
from scanwise.design.menu import BillItem, Menu
from scanwise.design.modality import Measurement, Modality, modality_kinds, register_modality
from scanwise.design.protocol import Protocol
from scanwise.design.sampling_schemes import (
    Averages,
    Equispaced,
    FirstN,
    LowResolution,
    PartialFourier,
    PoissonDisc,
    VariableDensity,
)
from scanwise.design.scheme import Parameter, Scheme, Setting, Subset, Whole, make_scheme, register_scheme, schemes
from scanwise.design.shots import Setup, ShotTable

__all__ = [
    "COST_AXES",
    "TISSUE_MAPS",
    "Averages",
    "BillItem",
    "Budget",
    "Column",
    "Cost",
    "Equispaced",
    "FirstN",
    "Fold",
    "ImagingModality",
    "LowResolution",
    "Measurement",
    "Menu",
    "Modality",
    "Parameter",
    "PartialFourier",
    "PatientData",
    "Patients",
    "PoissonDisc",
    "Product",
    "ProductScorer",
    "Protocol",
    "Scene",
    "Scheme",
    "Scorer",
    "Setting",
    "Setup",
    "ShotTable",
    "Subset",
    "VariableDensity",
    "Whole",
    "amount",
    "make_scheme",
    "modality_kinds",
    "random_counts",
    "random_protocol",
    "register_modality",
    "register_scheme",
    "schemes",
    "settings_of",
]
