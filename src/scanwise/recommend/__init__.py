"""Choose, guard, and say it: from score tables to a recommendation. Needs neither torch nor optuna."""

from scanwise.recommend.adaptive import Walks
from scanwise.recommend.audit import audit
from scanwise.recommend.choose import Choice, Chooser, Rule
from scanwise.recommend.explained import Explained
from scanwise.recommend.findings import Finding, Severity
from scanwise.recommend.guards import Case, guards
from scanwise.recommend.recommendation import Recommendation, Record, recommend

__all__ = [
    "Case",
    "Choice",
    "Chooser",
    "Explained",
    "Finding",
    "Recommendation",
    "Record",
    "Rule",
    "Severity",
    "Walks",
    "audit",
    "guards",
    "recommend",
]
