"""Findings of guards and of the leakage audit: plain, ordered by severity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad it is; ordered, so that `max` is the worst."""

    PASS = 0
    INFO = 1
    WARNING = 2
    FAIL = 3


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    id: str
    severity: Severity
    title: str
    """The finding, one sentence."""
    detail: str = ""
    """The numbers behind it, and what to do."""
    vetoes: bool = False
    """Whether this forbids a change of protocol."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; the severity in lower case."""
        return {**asdict(self), "severity": self.severity.name.lower()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Finding:
        """Read `to_dict` back."""
        return cls(**{**plain, "severity": Severity[plain["severity"].upper()]})


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, worst first, otherwise in the order given."""
    return sorted(findings, key=lambda finding: -finding.severity)
