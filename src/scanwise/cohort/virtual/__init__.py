"""Patients that are made up by a procedure, labelled as such wherever they appear."""

from scanwise.cohort.virtual.panel import VirtualPanel

__all__ = ["VirtualPanel"]
