"""The closed configuration: what may be set, with types and defaults.

Light on imports, so that the shell answers at once. Component slots (`cohort`, `split`, `model`, `trainer`, `search`,
`policy`, `launcher`) hold a ``_target_`` of this package; the constructor it names is their schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

STAGES = ("fit", "search", "confirm", "explain", "policy", "recommend", "report")
"""The stages in order; ``stage=all`` runs those that are not done yet."""


@dataclass
class SetupConfig:
    """A cost paid once and shared by all shots that need it."""

    title: str = ""
    minutes: float = 0.0
    money: float = 0.0
    msv: float = 0.0
    contrast_ml: float = 0.0
    visits: float = 0.0
    scanning: bool = False


@dataclass
class MenuConfig:
    """What is on offer, and what it costs."""

    currency: str = ""
    source: str = ""
    setups: dict[str, SetupConfig] = field(default_factory=dict)
    modalities: dict[str, Any] = field(default_factory=dict)
    always: list[str] = field(default_factory=list)
    reference: list[str] | None = None


@dataclass
class ObjectiveConfig:
    """What the search maximises; the threshold is that of the net benefit."""

    name: str = "auc"
    threshold: float = 0.1


@dataclass
class BudgetConfig:
    """Upper limits; null = no limit."""

    minutes: float | None = None
    money: float | None = None
    msv: float | None = None
    contrast_ml: float | None = None
    visits: float | None = None


@dataclass
class EvidenceConfig:
    """How evidence is weighed, fixed before anyone looks."""

    margin: float = 0.03
    alpha: float = 0.025
    level: float = 0.95
    specificity: float = 0.8
    thresholds: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.3, 0.5])
    n_resamples: int = 2000


@dataclass
class Config:
    """Everything a run is made of."""

    name: str = "study"
    stage: str = "all"
    from_run: str | None = None
    out: str = "reports/runs"
    seed: int = 0
    mandatory: list[str] = field(default_factory=list)
    grid: bool = False
    short_list: int = 16
    doubts: int = 200
    primary: str = "money"
    cohort: Any = None
    menu: MenuConfig = field(default_factory=MenuConfig)
    split: Any = None
    model: Any = None
    trainer: Any = None
    search: Any = None
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    policy: Any = None
    launcher: Any = None
    limits: BudgetConfig = field(default_factory=BudgetConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)


FREE_OF_RUN = ("stage", "from_run", "out", "trainer", "launcher", "evidence", "budget", "primary", "policy", "doubts")
"""Settings that may change without making it another run: they do not touch what was fitted, searched or scored."""

KEPT_BY_RUN = ("evidence", "primary", "policy", "doubts")
"""Those of them that a run keeps when it is asked again and they are not typed."""

ConfigStore.instance().store(name="schema", node=Config)
