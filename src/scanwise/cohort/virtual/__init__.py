"""Patients that are made up by a procedure, labelled as such wherever they appear."""

from scanwise.cohort.virtual.organ import VirtualOrgan
from scanwise.cohort.virtual.panel import VirtualPanel

__all__ = ["VirtualOrgan", "VirtualPanel"]
