"""What patients say about protocols: ROC, paired tests, intervals, calibration, net benefit, from one score table."""

from scanwise.evidence.assess import Assessment, Sensitivity, SiteResult, assess, assess_all
from scanwise.evidence.calibration import Calibration, CurvePoint, brier, calibration, log_loss
from scanwise.evidence.comparison import Comparison, compare, holm
from scanwise.evidence.intervals import (
    Interval,
    logit_interval,
    normal_interval,
    patient_bootstrap,
    short,
    simultaneous_intervals,
    wilson_interval,
)
from scanwise.evidence.operating import NetBenefit, net_benefit, sensitivity_at_specificity
from scanwise.evidence.roc import AucEstimates, auc, auc_of_rows, auc_with_covariance, resampled_roc, roc_points
from scanwise.evidence.scores import ScoreTable
from scanwise.evidence.shapley import interaction_weights, shapley_weights

__all__ = [
    "Assessment",
    "AucEstimates",
    "Calibration",
    "Comparison",
    "CurvePoint",
    "Interval",
    "NetBenefit",
    "ScoreTable",
    "Sensitivity",
    "SiteResult",
    "assess",
    "assess_all",
    "auc",
    "auc_of_rows",
    "auc_with_covariance",
    "brier",
    "calibration",
    "compare",
    "holm",
    "interaction_weights",
    "log_loss",
    "logit_interval",
    "net_benefit",
    "normal_interval",
    "patient_bootstrap",
    "resampled_roc",
    "roc_points",
    "sensitivity_at_specificity",
    "shapley_weights",
    "short",
    "simultaneous_intervals",
    "wilson_interval",
]
