"""Patients: tables read as a YAML tells, virtual test panels, and how patients are dealt out. numpy only."""

from scanwise.cohort.sheet import Sheet, read_sheet
from scanwise.cohort.splits import Crossfit, Holdout, SiteSplit, Split
from scanwise.cohort.study import About, Cohort, Study
from scanwise.cohort.table import ColumnRule, TableCohort
from scanwise.cohort.virtual import VirtualOrgan, VirtualPanel

__all__ = [
    "About",
    "Cohort",
    "ColumnRule",
    "Crossfit",
    "Holdout",
    "Sheet",
    "SiteSplit",
    "Split",
    "Study",
    "TableCohort",
    "VirtualOrgan",
    "VirtualPanel",
    "read_sheet",
]
