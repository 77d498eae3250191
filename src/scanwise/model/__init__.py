"""Models that score any protocol: the amortised network, and the yardstick that is trained anew for each."""

from scanwise.model.amortised import AmortisedModel, NetworkScorer
from scanwise.model.greedy import GreedyModel, GreedyReader
from scanwise.model.image_model import ImageModel, ImageScorer
from scanwise.model.image_network import ImageNetwork
from scanwise.model.measurements import Measurements, SubsetModel, SubsetReader, fit_halves
from scanwise.model.mixture import MixtureModel, MixtureReader
from scanwise.model.neighbours import NeighbourModel, NeighbourReader
from scanwise.model.network import DiagnosisNetwork
from scanwise.model.parts import Parts
from scanwise.model.peers import PatternModel
from scanwise.model.refit import RefitModel, RefitScorer
from scanwise.model.ridge import RidgeModel, RidgePolicy, RidgeReader
from scanwise.model.trainer import TrainerSettings
from scanwise.model.value import Actions, ValueModel, ValueReader

__all__ = [
    "Actions",
    "AmortisedModel",
    "DiagnosisNetwork",
    "GreedyModel",
    "GreedyReader",
    "ImageModel",
    "ImageNetwork",
    "ImageScorer",
    "Measurements",
    "MixtureModel",
    "MixtureReader",
    "NeighbourModel",
    "NeighbourReader",
    "NetworkScorer",
    "Parts",
    "PatternModel",
    "RefitModel",
    "RefitScorer",
    "RidgeModel",
    "RidgePolicy",
    "RidgeReader",
    "SubsetModel",
    "SubsetReader",
    "TrainerSettings",
    "ValueModel",
    "ValueReader",
    "fit_halves",
]
