"""The sections of a run's page, in the page's order but for the responses. One without anything to say is empty."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape

from acejax.report import plots
from acejax.report.canvas import BLUE, DOMAIN_COLORS, GREEN, GREY, ORANGE, PURPLE, RED
from acejax.report.markup import figure, figures, grid, notice, section, soft, table, unfolding, verbatim
from acejax.report.plots import Line
from acejax.report.reading import Record, Run, Stage, finite, number
from acejax.run.tables import clock, comparison, percent

# What a sound run has as finite numbers in every step that has it at all.
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
SHARES = (
    Line("reward_all_zero", "no response right", ORANGE),
    Line("reward_all_one", "all responses right", BLUE),
    Line("unjudged", "unjudged responses", GREY, ":"),
)
LENGTHS = (
    Line("length_mean", "mean", BLUE),
    Line("length_p95", "95th percentile", BLUE, "--"),
)
TRUNCATED = (Line("truncated", "", ORANGE),)
ENTROPIES = (
    Line("entropy", "temperature 1", PURPLE),
    Line("entropy_tempered", "sampling temperature", PURPLE, "--"),
)
LOSS = (Line("loss", "loss", RED),)
GAPS = (
    Line("logprob_gap_mean", "mean", GREEN),
    Line("logprob_gap_max", "largest", RED, faint=True),
)
NORM = (Line("grad_norm", "", BLUE),)
STAGE_HEADER = (
    "",
    "stage",
    "kind",
    "domain",
    "steps",
    "time",
    "tokens",
    "tokens/s",
    "reward (or loss), first to last tenth",
)


def head(run: Run) -> str:
    """The run's name, its environment, and what a reader must know before he believes the rest."""
    parts = [f"<h1>{escape(run.name)}</h1>", _facts(run.environment)]
    if not run.finished:
        logged = f"This run has no closing measurement: what follows is what it had logged by {_position(run)}."
        parts.append(notice(logged))
    for name in MEASURED:
        places = [step["step"] for step in run.steps if name in step and math.isnan(number(step, name))]
        if places:
            where = ", ".join(map(str, places[:8]))
            if len(places) > 8:
                where += " and more"
            parts.append(notice(f"{name} was not a finite number in {len(places)} steps: {where}."))
    return "\n".join(parts)


def _facts(environment: Record) -> str:
    facts = ""
    for name, value in environment.items():
        if value in (None, "", [], {}):
            continue
        text = value
        if not isinstance(value, str):
            text = json.dumps(value, ensure_ascii=False)
        facts += f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(text)}</dd>"
    if not facts:
        return ""
    return f"<dl>{facts}</dl>"


def _position(run: Run) -> str:
    if not run.steps:
        return "no step yet"
    return f"step {run.steps[-1]['step']} of stage {run.stages[-1].name}"


def results(run: Run) -> str:
    """The table of measurements: the summary's, or before there is one the first and the last so far."""
    entries: Sequence[Record] = run.summary
    if not run.finished:
        entries = _so_far(run) or entries
    if not entries:
        return ""
    header, rows = comparison(entries)
    marked: list[int] = []
    if len(rows) > 1:
        last_of = {row[0]: at for at, row in enumerate(rows)}
        marked = list(last_of.values())
    note = soft(
        "Held-out problems; 95% intervals in brackets; gain in percentage points of avg, over the domain's first line."
    )
    return section("Before and after", table(header, rows, text=2, marked=marked) + note)


def _so_far(run: Run) -> list[Record]:
    entries: list[Record] = []
    for domain in run.domains:
        for record in run.boundaries(domain).values():
            place = f"{record.get('stage')}, step {record['step']}"
            entries.append({**record, "stage": place})
    return entries


def accuracy(run: Run) -> str:
    """avg@k on held-out problems over the steps, a plot per domain."""
    drawn = []
    for domain in run.domains:
        measured = run.measured(domain)
        svg = plots.held_out(measured, run.stages, _color(domain))
        drawn.append(figure(f"Held-out accuracy: {domain}", svg, _accuracy_caption(measured, run.stages)))
    names = ", ".join(f"{stage.number} {stage.name} ({stage.kind}, {stage.domain})" for stage in run.stages)
    note = f"The plots' grey and white bands are the stages, in order: {names}."
    return figures("Accuracy on held-out problems", drawn, note)


def _accuracy_caption(measured: Sequence[Record], stages: Sequence[Stage]) -> str:
    caption = "Bands and bars are 95% intervals."
    cut = plots.supervised_cut([record["step"] for record in measured], stages)
    if cut is not None:
        caption += f" Supervised steps before {cut} are cut off."
    return caption


def _color(domain: str) -> str:
    return DOMAIN_COLORS.get(domain, GREEN)


def learning(run: Run) -> str:
    """What the policy learns from, step by step."""
    stages = run.stages
    sampled = [step for step in run.steps if "reward" in step]
    supervised = [step for step in run.steps if "reward" not in step]
    reward = plots.reward(run.steps, stages)
    idle = plots.by_step(sampled, stages, SHARES, "share", share=True)
    lengths = plots.by_step(sampled, stages, LENGTHS, "tokens")
    truncated = plots.by_step(sampled, stages, TRUNCATED, "share", share=True)
    entropy = plots.by_step(sampled, stages, ENTROPIES, "nats per token")
    loss = plots.by_step(supervised, stages, LOSS, "nats per token")
    no_gradient = "Groups whose responses are all wrong or all right give no gradient."
    drawn = (
        figure("Reward", reward, "Mean over the responses of a step."),
        figure("Groups that teach nothing", idle, no_gradient),
        figure("Response length", lengths, "Tokens sampled per response."),
        figure("Truncated responses", truncated, "Stopped by the budget."),
        figure("Entropy", entropy, "Of the next token."),
        figure("Supervised loss", loss, "On worked solutions."),
    )
    return figures("Learning", drawn)


def health(run: Run) -> str:
    """What tells that a run goes wrong, and where its time goes."""
    gap = plots.by_step(run.steps, run.stages, GAPS, "nats", log=True)
    norm = plots.by_step(run.steps, run.stages, NORM, "global norm", log=True)
    seconds = plots.time_split(run.steps, run.stages)
    drawn = (
        figure("Log-probability gap", gap, "Sampler against trainer, per token."),
        figure("Gradient norm", norm, "Of the whole gradient."),
        figure("Time of a step", seconds, "Verification is waited for only after sampling ended."),
    )
    return figures("Health and time", drawn)


def difficulty(run: Run) -> str:
    """avg@k by difficulty at the start and at the end, a plot per domain."""
    drawn = []
    for domain in run.domains:
        boundaries = run.boundaries(domain)
        svg = plots.by_difficulty(list(boundaries.values()), _color(domain))
        places = "; ".join(f"{name}: step {record['step']}" for name, record in boundaries.items())
        drawn.append(figure(f"By difficulty: {domain}", svg, places))
    return figures("Accuracy by difficulty", drawn)


def failures(run: Run) -> str:
    """Why held-out responses did not pass, a table per domain."""
    tables = []
    for domain in run.domains:
        failed = _failure_table(run.boundaries(domain))
        if failed:
            tables.append(f"<div><h3>{escape(domain)}</h3>{failed}</div>")
    if not tables:
        return ""
    note = soft("Held-out responses that did not pass, with their share of all failures of that measurement.")
    return section("Why responses fail", note + grid(tables))


def _failure_table(boundaries: Mapping[str, Record]) -> str:
    counts = [_failed(record) for record in boundaries.values()]
    largest: dict[str, float] = {}
    for count in counts:
        for reason, responses in count.items():
            largest[reason] = max(responses, largest.get(reason, 0))
    if not largest:
        return ""
    reasons = sorted(largest, key=lambda reason: -largest[reason])
    rows = [[reason, *(_share(count, reason) for count in counts)] for reason in reasons]
    totals = [str(round(sum(count.values()))) for count in counts]
    rows.append(["all failures", *totals])
    columns = [f"{name} (step {record['step']})" for name, record in boundaries.items()]
    return table(["reason", *columns], rows, text=1, marked=[len(reasons)])


def _failed(record: Record) -> dict[str, float]:
    """How many responses of a measurement failed for each reason."""
    reasons = record.get("reasons") or {}
    counts = {str(reason): number(reasons, reason) for reason in reasons if reason != "ok"}
    return {reason: count for reason, count in counts.items() if count > 0}


def _share(counts: Mapping[str, float], reason: str) -> str:
    if reason not in counts:
        return "0"
    share = counts[reason] / sum(counts.values())
    return f"{round(counts[reason])} ({percent(share, 0)})"


def stages(run: Run) -> str:
    """What each stage took and gave."""
    if not run.stages:
        return ""
    rows = [_stage_row(stage, stage.of(run.steps)) for stage in run.stages]
    return section("Stages", table(STAGE_HEADER, rows, text=4))


def _stage_row(stage: Stage, steps: Sequence[Record]) -> list[str]:
    seconds = sum(finite(steps, "seconds_step"))
    tokens = sum(finite(steps, "tokens"))
    done = str(len(steps))
    if stage.planned and stage.planned != len(steps):
        done = f"{done} of {stage.planned}"
    rate = "-"
    if seconds > 0:
        rate = f"{tokens / seconds:,.0f}"
    return [
        str(stage.number),
        stage.name,
        stage.kind,
        stage.domain,
        done,
        clock(seconds),
        f"{tokens:,.0f}",
        rate,
        _first_to_last(stage, steps),
    ]


def _first_to_last(stage: Stage, steps: Sequence[Record]) -> str:
    """The mean of the stage's first tenth and of its last: of the reward, or of the loss of a supervised stage."""
    label, measure = "loss ", "loss"
    if stage.sampled:
        label, measure = "", "reward"
    values = finite(steps, measure)
    if not values:
        return "-"
    tenth = max(1, len(values) // 10)
    first = sum(values[:tenth]) / tenth
    last = sum(values[-tenth:]) / tenth
    return f"{label}{first:.3f} to {last:.3f}"


def details(run: Run) -> str:
    """The run's notes and its configuration, folded."""
    parts = ""
    if run.notes:
        lines = "\n".join(map(_note, run.notes))
        parts += unfolding(f"Notes of the run ({len(run.notes)})", verbatim(lines))
    config = run.folder / "config.yaml"
    if config.is_file():
        text = config.read_text(encoding="utf-8", errors="replace")
        parts += unfolding("Configuration", verbatim(text))
    if not parts:
        return ""
    return section("Record", parts)


def _note(note: Record) -> str:
    text = str(note.get("text"))
    if note.get("step") is None:
        return text
    return f"step {note['step']}: {text}"
