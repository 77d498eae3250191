"""What the rule goes by, as plain data: enough to apply it to any limits on any axes without the score tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanwise.recommend.choose import Chooser


def grounds(chooser: Chooser) -> dict[str, Any]:
    """Return what `Chooser.pick` needs to know of every protocol of the short list.

    Of those within the limits the rule takes the first in ``dearness`` that is ``non_inferior``, or goes down the
    fixed sequence of ``confirmed`` ones; where none is non-inferior, the first in ``dearness`` that is ``alike`` to the
    one with the highest ``auc``, the earlier one in ``keys`` where two are level.

    Returns
    -------
    grounds : lists in the order of ``keys``: ``auc`` of the searching patients; ``dearness``, the place when sorted
        from cheap to dear; ``non_inferior``; ``confirmed`` by the judging patients, or None where they took part in the
        choice; ``alike``, for every protocol which ones lie within one standard error of it, as a hexadecimal number
        with bit *d* for the protocol whose dearness is *d* (empty for those that are non-inferior: nobody asks).
    """
    keys = chooser.keys
    by_price = sorted(range(len(keys)), key=chooser._dearness)
    dearness = np.empty(len(keys), dtype=np.int64)
    dearness[by_price] = np.arange(len(keys))
    alike = []
    for row, key in enumerate(keys):
        if chooser.non_inferior[row]:
            alike.append("")
            continue
        difference, se = chooser._estimates.difference_to(key)
        within = np.flatnonzero((difference >= -se) & (dearness <= dearness[row]))
        alike.append(format(sum(1 << int(place) for place in dearness[within]), "x"))
    confirmed = chooser._confirmed
    return {
        "keys": list(keys),
        "auc": [float(value) for value in chooser.auc],
        "dearness": dearness.tolist(),
        "non_inferior": [bool(value) for value in chooser.non_inferior],
        "confirmed": None if confirmed is None else [bool(confirmed[key]) for key in keys],
        "alike": alike,
    }
