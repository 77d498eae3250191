"""What to acquire next in one patient, and when it is enough: states, steps, policies, and how they fare."""

from scanwise.policy.ahead import AheadPolicy, MyopicPolicy, WorthGuide
from scanwise.policy.baselines import (
    ConfidencePolicy,
    FixedPolicy,
    NeighboursPolicy,
    RandomPolicy,
    SimilarityPolicy,
)
from scanwise.policy.examine import Examined, examine, examine_learners, fixed_front
from scanwise.policy.history import History, Shown, log_odds
from scanwise.policy.outlook import outlook
from scanwise.policy.policy import Guide, Policy, make_policy, policies, register_policy
from scanwise.policy.walk import Walk, walk
from scanwise.policy.workup import Step, Track, Workup

__all__ = [
    "AheadPolicy",
    "ConfidencePolicy",
    "Examined",
    "FixedPolicy",
    "Guide",
    "History",
    "MyopicPolicy",
    "NeighboursPolicy",
    "Policy",
    "RandomPolicy",
    "Shown",
    "SimilarityPolicy",
    "Step",
    "Track",
    "Walk",
    "Workup",
    "WorthGuide",
    "examine",
    "examine_learners",
    "fixed_front",
    "log_odds",
    "make_policy",
    "outlook",
    "policies",
    "register_policy",
    "walk",
]
