"""A run's report.html: one file with everything in it, no script and no outside address, made from the run folder
alone.

It may be written at any time: a run that was interrupted, or that still goes, gets the page of what it has logged so
far.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from acejax.errors import UserError
from acejax.files import write_whole
from acejax.report import plots
from acejax.report.plots import Line, Record, Stage, number
from acejax.run.records import METRICS, read_metrics, read_samples, read_summary
from acejax.run.tables import clock, comparison, percent

# So many solved and so many unsolved responses are shown per domain, from the run's beginning and again from its end.
SHOWN_RESPONSES = 2
# Of a longer text the page shows the two ends.
LONGEST_TEXT = 6000
MEASURED = (
    "reward",
    "loss",
    "grad_norm",
    "entropy",
    "entropy_tempered",
    "logprob_gap_mean",
    "logprob_gap_max",
    "length_mean",
)

STYLE = """
:root{color-scheme:light;--ink:#1c2530;--soft:#5b6878;--line:#dde3ea;--good:#00734f;--bad:#b2182b}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
h1{font-size:1.6rem;margin:.2rem 0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.1rem 0 .4rem}
p,figcaption{margin:.3rem 0}.soft,figcaption{color:var(--soft);font-size:.88rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}.text{text-align:left}tr.last td{font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.9rem;margin:.6rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:1rem}
figure{margin:0;padding:.6rem;border:1px solid var(--line);border-radius:8px;min-width:0}
figcaption b{color:var(--ink);font-size:.98rem}img{display:block;width:100%;height:auto}
.notice{padding:.6rem .9rem;border-radius:8px;background:#fff4d6;border:1px solid #ecd48a;margin:.6rem 0}
details{border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem;margin:.5rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.82rem;line-height:1.4;background:#f6f8fa;
padding:.6rem;border-radius:6px;max-height:24rem;overflow:auto;margin:.3rem 0}
.correct{color:var(--good);font-weight:600}.wrong,.unjudged{color:var(--bad);font-weight:600}
"""


@dataclass
class Run:
    """What the page needs of a run: records in order, the latest where a resumed run wrote one twice."""

    folder: Path
    steps: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    environment: Record
    stages: list[Stage]

    @property
    def domains(self) -> list[str]:
        return list(dict.fromkeys(str(record.get("domain")) for record in (*self.summary, *self.evals)))

    @property
    def finished(self) -> bool:
        return any(entry.get("stage") == "end" for entry in self.summary)


@dataclass
class Picks:
    """Responses of one domain chosen for the page: the first found and the last found, of each outcome."""

    first: dict[bool, dict[str, Record]] = field(default_factory=lambda: {True: {}, False: {}})
    last: dict[bool, dict[str, Record]] = field(default_factory=lambda: {True: {}, False: {}})

    def add(self, sample: Record) -> None:
        """Considers the next sample of the file; at most one response of a problem is kept in each list."""
        solved, problem = sample.get("verdict") == "correct", str(sample.get("problem_id"))
        if len(self.first[solved]) < SHOWN_RESPONSES and problem not in self.first[solved]:
            self.first[solved][problem] = sample
            return
        recent = self.last[solved]
        recent.pop(problem, None)
        recent[problem] = sample
        if len(recent) > SHOWN_RESPONSES:
            del recent[next(iter(recent))]


def write_report(folder: Path) -> Path:
    """Writes `folder`/report.html from the run's files and returns its path. The file is replaced whole.

    Files that are absent or half-written cost only their sections. Raises UserError if the folder holds no run.
    """
    run = read_run(folder)
    sections = [_head(run), _results(run), _accuracy(run), _learning(run), _health(run), _difficulty(run)]
    sections += [_failures(run), _stages(run), _responses(run), _details(run)]
    title = escape(f"{folder.resolve().name} · acejax run")
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(filter(None, sections))
        + "\n</body></html>\n"
    )
    path = folder / "report.html"
    write_whole(path, page.encode("utf-8", errors="replace"))
    return path


def read_run(folder: Path) -> Run:
    """Reads all but the responses of a run folder."""
    if not (folder / METRICS).is_file():
        raise UserError(f"{folder}: holds no {METRICS}; give the output folder of a run")
    records = read_metrics(folder)
    placed = [record for record in records if isinstance(record.get("step"), int)]
    steps = {record["step"]: record for record in placed if record.get("kind") == "step"}
    measured = [record for record in placed if record.get("kind") == "eval"]
    evals = {tuple(record.get(name) for name in ("stage", "step", "domain", "split")): record for record in measured}
    ordered = [steps[step] for step in sorted(steps)]
    return Run(
        folder=folder,
        steps=ordered,
        evals=sorted(evals.values(), key=lambda record: record["step"]),
        notes=[record for record in records if record.get("kind") == "note"],
        summary=read_summary(folder),
        environment=_environment(folder),
        stages=_stage_list(ordered),
    )


def _environment(folder: Path) -> Record:
    try:
        environment = json.loads((folder / "environment.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return environment if isinstance(environment, dict) else {}


def _stage_list(steps: Sequence[Record]) -> list[Stage]:
    stages = []
    for at, name in enumerate(dict.fromkeys(step.get("stage") for step in steps), 1):
        mine = [step for step in steps if step.get("stage") == name]
        kind, domain, planned = (mine[-1].get(key) for key in ("stage_kind", "domain", "stage_steps"))
        sampled = any("reward" in step for step in mine)
        first, last = mine[0]["step"], mine[-1]["step"]
        stages.append(Stage(at, str(name), str(kind or "grpo"), sampled, str(domain or ""), first, last, planned))
    return stages


def _head(run: Run) -> str:
    facts = {name: value for name, value in run.environment.items() if value not in (None, "", [], {})}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }
    shown = "".join(
        f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(text)}</dd>" for name, text in texts.items()
    )
    parts = [f"<h1>{escape(run.folder.resolve().name)}</h1>", f"<dl>{shown}</dl>" if shown else ""]
    if not run.finished:
        at = f"step {run.steps[-1]['step']} of stage {run.stages[-1].name}" if run.steps else "no step yet"
        parts.append(
            f'<p class="notice">This run has no closing measurement: what follows is what it had logged by {escape(at)}.</p>'
        )
    broken = {
        name: [step["step"] for step in run.steps if name in step and number(step, name) != number(step, name)]
        for name in MEASURED
    }
    for name, places in broken.items():
        if places:
            where = ", ".join(map(str, places[:8])) + (" and more" if len(places) > 8 else "")
            parts.append(f'<p class="notice">{name} was not a finite number in {len(places)} steps: {where}.</p>')
    return "\n".join(parts)


def _results(run: Run) -> str:
    entries: Sequence[Record] = run.summary
    if not run.finished:
        found = [
            record
            for domain in run.domains
            for record in (_start_eval(run, domain), _end_eval(run, domain))
            if record is not None
        ]
        entries = [{**record, "stage": f"{record.get('stage')}, step {record['step']}"} for record in found] or entries
    if not entries:
        return ""
    header, rows = comparison(entries)
    last_of = {row[0]: at for at, row in enumerate(rows)}
    marked = [at for at, row in enumerate(rows) if last_of[row[0]] == at and len(rows) > 1]
    note = (
        "Held-out problems; 95% intervals in brackets; gain in percentage points of avg, over the domain's first line."
    )
    return f"<h2>Before and after</h2>{_table(header, rows, text=2, marked=marked)}<p class='soft'>{note}</p>"


def _accuracy(run: Run) -> str:
    figures = []
    for domain in run.domains:
        mine = [record for record in run.evals if str(record.get("domain")) == domain]
        cut = plots.supervised_cut([record["step"] for record in mine], run.stages) if mine else None
        caption = "Bands and bars are 95% intervals." + (
            "" if cut is None else f" Supervised steps before {cut} are cut off."
        )
        color = plots.DOMAIN_COLORS.get(domain, plots.GREEN)
        figures.append(_figure(f"Held-out accuracy: {domain}", plots.held_out(mine, run.stages, color), caption))
    names = ", ".join(f"{stage.number} {stage.name} ({stage.kind}, {stage.domain})" for stage in run.stages)
    note = f"The plots' grey and white bands are the stages, in order: {names}."
    return _grid("Accuracy on held-out problems", figures, note)


def _learning(run: Run) -> str:
    steps, stages = run.steps, run.stages
    sampled = [step for step in steps if "reward" in step]
    shares = [
        Line("reward_all_zero", "no response right", plots.ORANGE),
        Line("reward_all_one", "all responses right", plots.BLUE),
        Line("unjudged", "unjudged responses", plots.GREY, ":"),
    ]
    lengths = [Line("length_mean", "mean", plots.BLUE), Line("length_p95", "95th percentile", plots.BLUE, "--")]
    entropies = [
        Line("entropy", "temperature 1", plots.PURPLE),
        Line("entropy_tempered", "sampling temperature", plots.PURPLE, "--"),
    ]
    loss = [Line("loss", "loss", plots.RED)]
    supervised = [step for step in steps if "reward" not in step]
    cut = [Line("truncated", "", plots.ORANGE)]
    idle = "Groups whose responses are all wrong or all right give no gradient."
    figures = [
        _figure("Reward", plots.reward(steps, stages), "Mean over the responses of a step."),
        _figure("Groups that teach nothing", plots.by_step(sampled, stages, shares, "share", share=True), idle),
        _figure("Response length", plots.by_step(sampled, stages, lengths, "tokens"), "Tokens sampled per response."),
        _figure(
            "Truncated responses", plots.by_step(sampled, stages, cut, "share", share=True), "Stopped by the budget."
        ),
        _figure("Entropy", plots.by_step(sampled, stages, entropies, "nats per token"), "Of the next token."),
        _figure("Supervised loss", plots.by_step(supervised, stages, loss, "nats per token"), "On worked solutions."),
    ]
    return _grid("Learning", figures)


def _health(run: Run) -> str:
    gap = [Line("logprob_gap_mean", "mean", plots.GREEN), Line("logprob_gap_max", "largest", plots.RED, faint=True)]
    norm = [Line("grad_norm", "", plots.BLUE)]
    figures = [
        _figure(
            "Log-probability gap",
            plots.by_step(run.steps, run.stages, gap, "nats", log=True),
            "Sampler against trainer, per token.",
        ),
        _figure(
            "Gradient norm",
            plots.by_step(run.steps, run.stages, norm, "global norm", log=True),
            "Of the whole gradient.",
        ),
        _figure(
            "Time of a step",
            plots.time_split(run.steps, run.stages),
            "Verification is waited for only after sampling ended.",
        ),
    ]
    return _grid("Health and time", figures)


def _difficulty(run: Run) -> str:
    figures = []
    for domain in run.domains:
        start, end = _start_eval(run, domain), _end_eval(run, domain)
        if start is None:
            continue
        color = plots.DOMAIN_COLORS.get(domain, plots.GREEN)
        places = [
            f"{name}: step {record['step']}" for name, record in (("start", start), ("end", end)) if record is not None
        ]
        figures.append(_figure(f"By difficulty: {domain}", plots.by_difficulty(start, end, color), "; ".join(places)))
    return _grid("Accuracy by difficulty", figures)


def _start_eval(run: Run, domain: str) -> Record | None:
    """What the run began with: stage "start" if named so, else the last measurement before the first reinforced
    step.
    """
    mine = _comparable(run, domain)
    named = [record for record in mine if record.get("stage") == "start"]
    begin = min((stage.first for stage in run.stages if stage.sampled), default=None)
    before = [record for record in mine if begin is not None and record["step"] < begin]
    return next(iter([*named[-1:], *before[-1:], *mine[:1]]), None)


def _end_eval(run: Run, domain: str) -> Record | None:
    """The last measurement; None if it is the start's too."""
    mine, start = _comparable(run, domain), _start_eval(run, domain)
    return mine[-1] if mine and mine[-1] is not start else None


def _comparable(run: Run, domain: str) -> list[dict[str, Any]]:
    """Measurements of one domain on all its held-out problems; on the small set only where there are no others."""
    mine = [record for record in run.evals if str(record.get("domain")) == domain]
    return [record for record in mine if record.get("split") == "full"] or mine


def _failures(run: Run) -> str:
    parts = []
    for domain in run.domains:
        pair = [record for record in (_start_eval(run, domain), _end_eval(run, domain)) if record is not None]
        counts = [_failed(record) for record in pair]
        largest = {reason: max(count.get(reason, 0) for count in counts) for count in counts for reason in count}
        reasons = sorted(largest, key=lambda reason: -largest[reason])
        if not reasons:
            continue
        rows = [[reason, *(_count(count, reason) for count in counts)] for reason in reasons]
        rows.append(["all failures", *(str(round(sum(count.values()))) for count in counts)])
        header = [
            "reason",
            *(f"{name} (step {record['step']})" for name, record in zip(("start", "end"), pair, strict=False)),
        ]
        parts.append(f"<div><h3>{escape(domain)}</h3>{_table(header, rows, text=1, marked=[len(rows) - 1])}</div>")
    note = "<p class='soft'>Held-out responses that did not pass, with their share of all failures of that measurement.</p>"
    return f"<h2>Why responses fail</h2>{note}<div class='grid'>{''.join(parts)}</div>" if parts else ""


def _failed(record: Record) -> dict[str, float]:
    reasons = record.get("reasons") or {}
    return {
        str(reason): number(reasons, reason) for reason in reasons if reason != "ok" and number(reasons, reason) > 0
    }


def _count(counts: Mapping[str, float], reason: str) -> str:
    return f"{round(counts[reason])} ({percent(counts[reason] / sum(counts.values()), 0)})" if reason in counts else "0"


def _stages(run: Run) -> str:
    rows = []
    for stage in run.stages:
        mine = [step for step in run.steps if step.get("stage") == stage.name]
        seconds, tokens = (
            sum(value for step in mine if (value := number(step, name)) == value) for name in ("seconds_step", "tokens")
        )
        planned = f"{len(mine)} of {stage.planned}" if stage.planned and stage.planned != len(mine) else str(len(mine))
        row = [str(stage.number), stage.name, stage.kind, stage.domain, planned, clock(seconds), f"{tokens:,.0f}"]
        rows.append(
            [
                *row,
                f"{tokens / seconds:,.0f}" if seconds > 0 else "-",
                _span(mine, "reward" if stage.sampled else "loss"),
            ]
        )
    header = [
        "",
        "stage",
        "kind",
        "domain",
        "steps",
        "time",
        "tokens",
        "tokens/s",
        "reward (or loss), first to last tenth",
    ]
    return f"<h2>Stages</h2>{_table(header, rows, text=4)}" if rows else ""


def _span(steps: Sequence[Record], measure: str) -> str:
    values = [value for step in steps if (value := number(step, measure)) == value]
    if not values:
        return "-"
    tenth = max(1, len(values) // 10)
    first, last = sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth
    return f"{'loss ' if measure == 'loss' else ''}{first:.3f} to {last:.3f}"


def _responses(run: Run) -> str:
    domains = {stage.name: stage.domain for stage in run.stages}
    picks: dict[str, Picks] = {}
    for sample in read_samples(run.folder):
        domain = str(sample.get("domain") or domains.get(str(sample.get("stage"))) or "other")
        picks.setdefault(domain, Picks()).add(sample)
    parts = []
    for domain, pick in picks.items():
        parts.append(f"<h3>{escape(domain)}</h3>")
        for title, chosen in (("early", pick.first), ("late", pick.last)):
            for solved in (True, False):
                parts += [
                    _response(sample, f"{title}, {'solved' if solved else 'not solved'}")
                    for sample in chosen[solved].values()
                ]
    note = "<p class='soft'>The first and the last that the run logged; press a line to open it.</p>"
    return f"<h2>Responses</h2>{note}{''.join(parts)}" if parts else ""


def _response(sample: Record, title: str) -> str:
    verdict = str(sample.get("verdict"))
    known = verdict if verdict in ("correct", "wrong", "unjudged") else "wrong"
    facts = [
        f"{name} {sample.get(key)}"
        for name, key in (("step", "step"), ("stage", "stage"), ("problem", "problem_id"), ("sample", "sample"))
    ]
    facts += [f"{sample.get('length')} tokens", f"finished by {sample.get('finish_reason')}"]
    judged = f'<span class="{known}">{escape(verdict)}</span> ({escape(str(sample.get("reason")))})'
    texts = "".join(
        f"<p class='soft'>{name}</p><pre>{escape(_ends(str(sample.get(name) or '')))}</pre>"
        for name in ("prompt", "response")
    )
    return f"<details><summary>{title}: {judged} <span class='soft'>{escape(', '.join(facts))}</span></summary>{texts}</details>"


def _ends(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _details(run: Run) -> str:
    parts = []
    if run.notes:
        lines = "\n".join(
            (f"step {note['step']}: " if note.get("step") is not None else "") + str(note.get("text"))
            for note in run.notes
        )
        parts.append(
            f"<details><summary>Notes of the run ({len(run.notes)})</summary><pre>{escape(lines)}</pre></details>"
        )
    config = run.folder / "config.yaml"
    if config.is_file():
        text = config.read_text(encoding="utf-8", errors="replace")
        parts.append(f"<details><summary>Configuration</summary><pre>{escape(text)}</pre></details>")
    return f"<h2>Record</h2>{''.join(parts)}" if parts else ""


def _grid(title: str, figures: Sequence[str], note: str = "") -> str:
    drawn = "".join(figures)
    words = f"<p class='soft'>{escape(note)}</p>" if note else ""
    return f"<h2>{escape(title)}</h2>{words}<div class='grid'>{drawn}</div>" if drawn else ""


def _figure(title: str, svg: str | None, caption: str) -> str:
    if svg is None:
        return ""
    # As an image, not inline: the ids inside two SVGs would meet in one page.
    source = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{source}">'
    return f"<figure><figcaption><b>{escape(title)}</b> {escape(caption)}</figcaption>{image}</figure>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], text: int, marked: Sequence[int] = ()) -> str:
    """An HTML table whose first `text` columns hold words and the others numbers; `marked` rows stand out."""
    kinds = [' class="text"' if at < text else "" for at in range(len(header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    body = ""
    for at, row in enumerate(rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        body += f"<tr{' class=last' if at in marked else ''}>{cells}</tr>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
