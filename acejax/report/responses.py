"""The responses that a page shows: of each domain a few solved and a few unsolved, from the run's beginning and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from acejax.report.markup import section, soft, unfolding, verbatim
from acejax.report.reading import Record, Run
from acejax.run.records import read_samples

# So many solved and so many unsolved responses are shown per domain, from the run's beginning and again from its end.
SHOWN_RESPONSES = 2
# Of a longer text the page shows the two ends.
LONGEST_TEXT = 6000
VERDICTS = ("correct", "wrong", "unjudged")


@dataclass
class Picks:
    """Responses of one domain chosen for the page: the first found and the last found, of each outcome."""

    first: dict[bool, dict[str, Record]] = field(default_factory=lambda: {True: {}, False: {}})
    last: dict[bool, dict[str, Record]] = field(default_factory=lambda: {True: {}, False: {}})

    def add(self, sample: Record) -> None:
        """Considers the next sample of the file; at most one response of a problem is kept in each list."""
        solved = sample.get("verdict") == "correct"
        problem = str(sample.get("problem_id"))
        early = self.first[solved]
        if len(early) < SHOWN_RESPONSES and problem not in early:
            early[problem] = sample
            return
        # A problem met again counts as the newest.
        recent = self.last[solved]
        recent.pop(problem, None)
        recent[problem] = sample
        if len(recent) > SHOWN_RESPONSES:
            oldest = next(iter(recent))
            del recent[oldest]


def responses(run: Run) -> str:
    """The section of responses; they are read from the folder here, one by one, for there may be very many."""
    stage_domains = {stage.name: stage.domain for stage in run.stages}
    picks: dict[str, Picks] = {}
    for sample in read_samples(run.folder):
        domain = sample.get("domain") or stage_domains.get(str(sample.get("stage"))) or "other"
        picks.setdefault(str(domain), Picks()).add(sample)
    if not picks:
        return ""
    parts = []
    for domain, pick in picks.items():
        parts.append(f"<h3>{escape(domain)}</h3>")
        parts += _listed("early", pick.first)
        parts += _listed("late", pick.last)
    note = soft("The first and the last that the run logged; press a line to open it.")
    return section("Responses", note + "".join(parts))


def _listed(when: str, chosen: Mapping[bool, Mapping[str, Record]]) -> list[str]:
    solved = [_response(sample, f"{when}, solved") for sample in chosen[True].values()]
    unsolved = [_response(sample, f"{when}, not solved") for sample in chosen[False].values()]
    return solved + unsolved


def _response(sample: Record, title: str) -> str:
    facts = (
        f"step {sample.get('step')}",
        f"stage {sample.get('stage')}",
        f"problem {sample.get('problem_id')}",
        f"sample {sample.get('sample')}",
        f"{sample.get('length')} tokens",
        f"finished by {sample.get('finish_reason')}",
    )
    place = f"<span class='soft'>{escape(', '.join(facts))}</span>"
    texts = ""
    for name in ("prompt", "response"):
        text = str(sample.get(name) or "")
        texts += soft(name) + verbatim(_ends(text))
    return unfolding(f"{title}: {_judged(sample)} {place}", texts)


def _judged(sample: Record) -> str:
    verdict = str(sample.get("verdict"))
    reason = str(sample.get("reason"))
    look = "wrong"
    if verdict in VERDICTS:
        look = verdict
    return f'<span class="{look}">{escape(verdict)}</span> ({escape(reason)})'


def _ends(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
