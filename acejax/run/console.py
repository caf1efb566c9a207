"""What a person sees while a run goes: on a terminal a live status line under scrolling text, elsewhere plain lines,
always log.txt.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TextIO

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from acejax import host
from acejax.run.tables import clock, comparison, percent, with_interval

Phase = Literal["sampling", "verifying", "updating", "evaluating", "training", "saving", "loading"]
COLORS: Mapping[Phase, str] = {
    "sampling": "cyan",
    "verifying": "magenta",
    "updating": "green",
    "evaluating": "yellow",
    "training": "green",
    "saving": "blue",
    "loading": "blue",
}
BAR_CELLS = 16
# Without a terminal nothing shows that a long phase goes on, so a line says so this often.
HEARTBEAT_SECONDS = 60.0
# So many lines tell a stage of supervised training.
SFT_LINES = 10
# The first columns of the closing table are words, the others numbers.
WORD_COLUMNS = 2
Record = Mapping[str, Any]


class PhaseShown(NamedTuple):
    """What the run does now, and how much of it is done, as far as that is known."""

    phase: Phase
    done: int | None
    total: int | None

    @property
    def text(self) -> str:
        if self.done is None:
            return self.phase
        if not self.total:
            return f"{self.phase} {self.done}"
        return f"{self.phase} {self.done}/{self.total}"

    @property
    def share(self) -> float | None:
        if self.done is None or not self.total:
            return None
        return min(1.0, self.done / self.total)


class RunConsole:
    """The voice of one run. Everything that scrolls past is also appended to `log_file`, as plain text with the time of
    day. Of many hosts one speaks; the others' log files are written all the same.
    """

    def __init__(self, log_file: Path, console: Console | None = None) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self._log: TextIO = log_file.open("a", encoding="utf-8", errors="backslashreplace")
        self._quiet = not host.is_writer()
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._place = ""
        self._last: Record = {}
        self._progress: PhaseShown | None = None
        self._ends_at: float | None = None
        self._spoke_at = time.monotonic()
        self._live: Live | None = None
        can_redraw = self._console.is_terminal and not self._console.is_dumb_terminal
        if can_redraw and not self._quiet:
            self._live = Live(
                console=self._console,
                get_renderable=self._status,
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()

    def __enter__(self) -> RunConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def say(self, text: str, style: str = "") -> None:
        """One or more lines that scroll past."""
        self._spoke_at = time.monotonic()
        self._write_log(text)
        if not self._quiet:
            self._print(Text(text, style=style), text)

    def warn(self, text: str) -> None:
        """A line that should be noticed."""
        self.say(f"warning: {text}", style="bold yellow")

    def stage_begin(self, name: str, kind: str, subject: str, steps: int) -> None:
        """Announces a stage, what it learns from and its planned number of steps."""
        self._place = name
        self._last = {}
        self._progress = None
        self.say(f"stage {name}: {kind} on {subject}, {steps} steps", style="bold")

    def phase(self, phase: Phase, done: int | None = None, total: int | None = None) -> None:
        """What the run does now, and how much of it is done. On a terminal this changes the status line only."""
        self._progress = PhaseShown(phase, done, total)
        silent = time.monotonic() - self._spoke_at
        if self._live is None and silent > HEARTBEAT_SECONDS:
            self.say(_joined([self._place, self._progress.text, self._left_text()]))

    def remaining(self, seconds: float | None) -> None:
        """Tells how long the whole run will still take; the status line counts down from there."""
        self._ends_at = None
        if seconds is not None:
            self._ends_at = time.monotonic() + seconds

    def step(self, record: Record) -> None:
        """Prints a step's record (metrics.jsonl, kind "step"): each of GRPO's, about ten per stage of supervised
        training.
        """
        self._last = record
        if "reward" in record:
            measured = _reinforced(record)
        elif _is_told(record):
            measured = _supervised(record)
        else:
            return
        self.say(_joined([_step_text(record), *measured, self._left_text()]))

    def eval(self, record: Record) -> None:
        """Prints a measurement on held-out problems (metrics.jsonl, kind "eval")."""
        k = record.get("k", "k")
        held_out = f"held-out {record.get('domain')} ({record.get('split')}, {record.get('problems')} problems)"
        parts = [f"{record.get('stage')}  {held_out}:"]
        for field in ("avg", "pass"):
            if record.get(field) is not None:
                parts.append(f"{field}@{k} {with_interval(record, field)}")
        if record.get("seconds") is not None:
            parts.append(f"in {record['seconds']:.1f}s")
        self.say(_joined(parts), style="cyan")

    def closing_table(self, entries: Sequence[Record]) -> None:
        """Prints summary.json's entries per domain, with intervals and the gain in points; nothing where there is one
        boundary only, and so nothing to compare.
        """
        boundaries = {entry["stage"] for entry in entries}
        if len(boundaries) < 2:
            return
        header, rows = comparison(entries)
        plain = _markdown(header, rows)
        self._progress = None
        self.say("held-out problems, before and after (95% intervals; gain in points of avg)", style="bold")
        self._write_log(plain)
        if not self._quiet:
            self._print(_narrow_table(header, rows), plain)

    def close(self) -> None:
        """Takes the status line away and closes the log; may be called twice."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._log.close()

    def _write_log(self, text: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._log.write("".join(f"{now}  {line}\n" for line in text.splitlines()))
        self._log.flush()

    def _print(self, rich: Text | Table, plain: str) -> None:
        if self._live is not None:
            self._console.print(rich)
        else:
            print(plain, file=self._console.file, flush=True)

    def _left_text(self) -> str:
        if self._ends_at is None:
            return ""
        seconds = self._ends_at - time.monotonic()
        return f"{clock(seconds)} left"

    def _status(self) -> Text:
        status = Text(no_wrap=True, overflow="ellipsis")
        # Rich asks from a thread of its own: what is read here is read once.
        progress, last = self._progress, self._last
        if progress is not None:
            _draw_progress(status, progress)
        place = self._place
        if last:
            place = _step_text(last)
        measure = "loss"
        if "reward" in last:
            measure = "reward"
        parts = (
            place,
            _number(measure, last.get(measure), ".3f"),
            _number("length", last.get("length_mean"), ".0f"),
            self._left_text(),
        )
        for part in filter(None, parts):
            if status:
                status.append("  ")
            status.append(part)
        return status


def _draw_progress(status: Text, progress: PhaseShown) -> None:
    color = COLORS[progress.phase]
    status.append(progress.text, style=f"bold {color}")
    if progress.share is None:
        return
    full = round(BAR_CELLS * progress.share)
    status.append(" " + "━" * full, style=color)
    status.append("━" * (BAR_CELLS - full), style="bright_black")


def _is_told(record: Record) -> bool:
    """Whether a supervised step is the stage's first or last, or one of the few between."""
    at, planned = record["stage_step"], record["stage_steps"]
    every = max(1, round(planned / SFT_LINES))
    return at % every == 0 or at in (1, planned)


def _step_text(record: Record) -> str:
    at, planned = record["stage_step"], record["stage_steps"]
    width = len(str(planned))
    return f"{record['stage']}  step {at:>{width}}/{planned}"


def _reinforced(record: Record) -> list[str]:
    """What is told of a step on completions; what went wrong only where something did."""
    return [
        _number("reward", record.get("reward"), ".3f"),
        _number("length", record.get("length_mean"), ".0f"),
        _share("cut", record.get("truncated")),
        _share("unjudged", record.get("unjudged")),
        _number("flipped", record.get("verify_flipped") or None, ".0f"),
        _seconds(record, ("sample", "verify", "update")),
    ]


def _supervised(record: Record) -> list[str]:
    return [
        _number("loss", record.get("loss"), ".4f"),
        _number("grad norm", record.get("grad_norm"), ".2f"),
        _number("tokens", record.get("tokens"), ",.0f"),
    ]


def _number(label: str, value: float | None, form: str) -> str:
    if value is None:
        return ""
    return f"{label} {value:{form}}"


def _share(label: str, value: float | None) -> str:
    if not value:
        return ""
    return f"{label} {percent(value, 0)}"


def _seconds(record: Record, phases: Sequence[str]) -> str:
    took = {name: record.get(f"seconds_{name}") for name in phases}
    return " ".join(f"{name} {seconds:.1f}s" for name, seconds in took.items() if seconds is not None)


def _joined(parts: Iterable[str]) -> str:
    """One line of the parts that say something."""
    return "  ".join(filter(None, parts))


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = Table(box=box.MARKDOWN)
    _add_columns(table, header)
    for row in rows:
        table.add_row(*row)
    rendered = io.StringIO()
    Console(file=rendered, width=200, color_system=None).print(table)
    lines = rendered.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _narrow_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal, a section per domain. Edges and padding are spared: it stands unbroken in 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    _add_columns(table, header)
    for _, of_domain in groupby(rows, key=lambda row: row[0]):
        table.add_section()
        for row in of_domain:
            table.add_row(*row)
    return table


def _add_columns(table: Table, header: Sequence[str]) -> None:
    for name in header[:WORD_COLUMNS]:
        table.add_column(name)
    for name in header[WORD_COLUMNS:]:
        table.add_column(name, justify="right")
