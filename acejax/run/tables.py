"""Measurements as people read them: shares, intervals, durations, and the table that compares stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def gain_points(start: Mapping[str, Any], end: Mapping[str, Any], field: str = "avg") -> float | None:
    """How much `field` (0 to 1) rose, in percentage points; None where either value is missing."""
    before, after = start.get(field), end.get(field)
    return None if before is None or after is None else 100 * (after - before)


def comparison(entries: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Entries of summary.json as the header and the rows of a table: a domain's measurements in order, each with its
    gain on the first.

    Shares are percentages with their 95% intervals, gains are points of avg@k.
    """
    counts = {entry.get("k") for entry in entries}
    k = str(counts.pop()) if len(counts) == 1 else "k"
    header = ["domain", "measured", f"avg@{k}", f"pass@{k}", "gain", "problems"]
    rows = []
    for domain in dict.fromkeys(entry.get("domain") for entry in entries):
        mine = [entry for entry in entries if entry.get("domain") == domain]
        for number, entry in enumerate(mine):
            gain = gain_points(mine[0], entry) if number else None
            row = [str(domain), str(entry.get("stage", "")) + (f" (k={entry.get('k')})" if k == "k" else "")]
            row += [with_interval(entry, "avg"), with_interval(entry, "pass")]
            rows.append([*row, "" if gain is None else f"{gain:+.1f}", str(entry.get("problems", ""))])
    return header, rows


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 0 to 1 as "31.2%"; "-" if it is missing or not a number."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}%"


def with_interval(record: Mapping[str, Any], field: str) -> str:
    """A measured share with its 95% interval: "31.2% [28.0, 34.5]"."""
    low, high = record.get(f"{field}_low"), record.get(f"{field}_high")
    return percent(record.get(field)) + ("" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]")


def clock(seconds: float) -> str:
    """A duration as "45s", "3m05s" or "2h07m"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02d}s" if whole < 3600 else f"{whole // 3600}h{whole // 60 % 60:02d}m"
