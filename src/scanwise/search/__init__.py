"""Which protocols are worth a look: the exact lattice where it is small, Optuna where it is not.

The only importer of Optuna, and only while `OptunaSearch` runs: reading a `SearchResult` back needs numpy alone.
"""

from scanwise.search.baselines import GreedySearch, SeparateSearch, UniformSearch
from scanwise.search.front import hypervolume, knee, nondominated
from scanwise.search.learned import GradientObjective, LearnedSearch
from scanwise.search.result import SearchResult
from scanwise.search.search import (
    AutoSearch,
    LatticeSearch,
    Objective,
    OptunaSearch,
    ProductObjective,
    Progress,
    Search,
)
from scanwise.search.space import SearchSpace, Trial

__all__ = [
    "AutoSearch",
    "GradientObjective",
    "GreedySearch",
    "LatticeSearch",
    "LearnedSearch",
    "Objective",
    "OptunaSearch",
    "ProductObjective",
    "Progress",
    "Search",
    "SearchResult",
    "SearchSpace",
    "SeparateSearch",
    "Trial",
    "UniformSearch",
    "hypervolume",
    "knee",
    "nondominated",
]
