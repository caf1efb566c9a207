"""Measurements as people read them: shares, intervals, durations, and the table that compares stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]


def comparison(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Entries of summary.json as the header and the rows of a table: a domain's measurements in order, each with its
    gain on the first.

    Shares are percentages with their 95% intervals, gains are points of avg@k. Where k differs each row names its own.
    """
    counts = {entry.get("k") for entry in entries}
    k = "k"
    if len(counts) == 1:
        k = str(counts.pop())
    header = [
        "domain",
        "measured",
        f"avg@{k}",
        f"pass@{k}",
        "gain",
        "problems",
    ]
    of_domain: dict[Any, list[Entry]] = {}
    for entry in entries:
        of_domain.setdefault(entry.get("domain"), []).append(entry)
    rows = []
    for mine in of_domain.values():
        gains = ["", *(_gain(mine[0], entry) for entry in mine[1:])]
        for entry, gain in zip(mine, gains, strict=True):
            rows.append(_row(entry, gain, names_k=k == "k"))
    return header, rows


def _row(entry: Entry, gain: str, names_k: bool) -> list[str]:
    measured = str(entry.get("stage", ""))
    if names_k:
        measured += f" (k={entry.get('k')})"
    return [
        str(entry.get("domain")),
        measured,
        with_interval(entry, "avg"),
        with_interval(entry, "pass"),
        gain,
        str(entry.get("problems", "")),
    ]


def _gain(start: Entry, end: Entry) -> str:
    """How much avg (0 to 1) rose, in percentage points; empty where either value is missing."""
    before, after = start.get("avg"), end.get("avg")
    if before is None or after is None:
        return ""
    return f"{100 * (after - before):+.1f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 0 to 1 as "31.2%"; "-" if it is missing or not a number."""
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:.{digits}f}%"


def with_interval(record: Entry, field: str) -> str:
    """A measured share with its 95% interval: "31.2% [28.0, 34.5]"."""
    share = percent(record.get(field))
    low = record.get(f"{field}_low")
    high = record.get(f"{field}_high")
    if low is None or high is None:
        return share
    return f"{share} [{100 * low:.1f}, {100 * high:.1f}]"


def clock(seconds: float) -> str:
    """A duration as "45s", "3m05s" or "2h07m"."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
