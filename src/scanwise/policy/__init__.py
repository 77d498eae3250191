"""What to acquire next in one patient, and when it is enough: states, steps, policies, and how they fare."""

from scanwise.policy.advice import Advice, Advisor, NextStep, in_words
from scanwise.policy.ahead import AheadPolicy, MyopicPolicy, WorthGuide
from scanwise.policy.baselines import (
    ConfidencePolicy,
    FixedPolicy,
    NeighboursPolicy,
    RandomPolicy,
    SimilarityPolicy,
)
from scanwise.policy.binormal import BinormalGuide, BinormalPolicy
from scanwise.policy.course import (
    Guidance,
    learn_policy,
    leave_policy_out,
    merit_of_lengths,
    read_guidance,
    read_walks,
)
from scanwise.policy.examine import Examined, examine, examine_learners, fixed_front
from scanwise.policy.history import History, Shown, expected_loss, log_odds
from scanwise.policy.outlook import outlook
from scanwise.policy.patient import PatientSoFar, checked_number, read_patient
from scanwise.policy.policy import Guide, Policy, make_policy, policies, register_policy
from scanwise.policy.values import TrackValues
from scanwise.policy.walk import Walk, walk
from scanwise.policy.workup import Step, Track, Workup

__all__ = [
    "Advice",
    "Advisor",
    "AheadPolicy",
    "BinormalGuide",
    "BinormalPolicy",
    "ConfidencePolicy",
    "Examined",
    "FixedPolicy",
    "Guidance",
    "Guide",
    "History",
    "MyopicPolicy",
    "NeighboursPolicy",
    "NextStep",
    "PatientSoFar",
    "Policy",
    "RandomPolicy",
    "Shown",
    "SimilarityPolicy",
    "Step",
    "Track",
    "TrackValues",
    "Walk",
    "Workup",
    "WorthGuide",
    "checked_number",
    "examine",
    "examine_learners",
    "expected_loss",
    "fixed_front",
    "in_words",
    "learn_policy",
    "leave_policy_out",
    "log_odds",
    "make_policy",
    "merit_of_lengths",
    "outlook",
    "policies",
    "read_guidance",
    "read_patient",
    "read_walks",
    "register_policy",
    "walk",
]
