"""What a person sees while a run goes: on a terminal a live status line under scrolling text, elsewhere plain lines,
always log.txt.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

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
SFT_LINES = 10


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
        self._stage_steps: int | None = None
        self._last: Mapping[str, Any] = {}
        self._phase: tuple[Phase, int | None, int | None] | None = None
        self._ends_at: float | None = None
        self._spoke_at = time.monotonic()
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet:
            self._live = Live(console=self._console, get_renderable=self._status, refresh_per_second=4, transient=True)
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

    def stage_begin(self, name: str, kind: str, domain: str, steps: int | None) -> None:
        """Announces a stage; `steps` is the planned number, None where a stopping rule alone decides."""
        self._place, self._stage_steps, self._last, self._phase = name, steps, {}, None
        length = "" if steps is None else f", {steps} steps"
        self.say(f"stage {name}: {kind} on {domain}{length}", style="bold")

    def phase(self, phase: Phase, done: int | None = None, total: int | None = None) -> None:
        """What the run does now, and how much of it is done. On a terminal this changes the status line only."""
        self._phase = (phase, done, total)
        if self._live is None and time.monotonic() - self._spoke_at > HEARTBEAT_SECONDS:
            self.say("  ".join(part for part in (self._place, self._phase_text(), self._left_text()) if part))

    def remaining(self, seconds: float | None) -> None:
        """Tells how long the whole run will still take; the status line counts down from there."""
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    def step(self, record: Mapping[str, Any]) -> None:
        """Prints a step's record (metrics.jsonl, kind "step"): each of GRPO's, about ten per stage of supervised
        training.
        """
        self._last = record
        number, planned = record.get("stage_step"), record.get("stage_steps", self._stage_steps)
        if "reward" not in record:
            every = max(1, round((planned or SFT_LINES) / SFT_LINES))
            if number is not None and number % every and number not in (1, planned):
                return
            parts = [_number("loss", record.get("loss"), ".4f"), _number("grad norm", record.get("grad_norm"), ".2f")]
            parts.append(_number("tokens", record.get("tokens"), ",.0f"))
        else:
            parts = [
                _number("reward", record.get("reward"), ".3f"),
                _number("length", record.get("length_mean"), ".0f"),
                _share("cut", record.get("truncated") or None),
                _share("unjudged", record.get("unjudged") or None),
                _number("flipped", record.get("verify_flipped") or None, ".0f"),
                _seconds(record, ("sample", "verify", "update")),
            ]
        self.say("  ".join(part for part in (self._step_text(record), *parts, self._left_text()) if part))

    def eval(self, record: Mapping[str, Any]) -> None:
        """Prints a measurement on held-out problems (metrics.jsonl, kind "eval")."""
        k = record.get("k", "k")
        head = f"held-out {record.get('domain')} ({record.get('split')}, {record.get('problems')} problems)"
        took = _number("in", record.get("seconds"), ".1f")
        shares = [
            f"{field}@{k} {with_interval(record, field)}" for field in ("avg", "pass") if record.get(field) is not None
        ]
        self.say("  ".join([f"{record.get('stage')}  {head}:", *shares, *([took + "s"] if took else [])]), style="cyan")

    def closing_table(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Prints summary.json's entries per domain, with intervals and the gain in points; nothing where there is one
        boundary only, and so nothing to compare.
        """
        if len({entry["stage"] for entry in entries}) < 2:
            return
        header, rows = comparison(entries)
        rendered = io.StringIO()
        Console(file=rendered, width=200, color_system=None).print(_table(header, rows, box.MARKDOWN))
        plain = "\n".join(line.rstrip() for line in rendered.getvalue().splitlines() if line.strip())
        self._phase = None
        self.say("held-out problems, before and after (95% intervals; gain in points of avg)", style="bold")
        self._write_log(plain)
        if not self._quiet:
            self._print(_table(header, rows, box.SIMPLE_HEAD), plain)

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

    def _step_text(self, record: Mapping[str, Any]) -> str:
        number, planned = record.get("stage_step"), record.get("stage_steps") or self._stage_steps
        if number is None:
            return f"{record.get('stage') or self._place}"
        count = f"{number:>{len(str(planned))}}/{planned}" if planned else f"{number}"
        return f"{record.get('stage') or self._place}  step {count}"

    def _phase_text(self) -> str:
        if self._phase is None:
            return ""
        name, done, total = self._phase
        if done is None:
            return name
        return f"{name} {done}/{total}" if total else f"{name} {done}"

    def _left_text(self) -> str:
        return "" if self._ends_at is None else f"{clock(self._ends_at - time.monotonic())} left"

    def _status(self) -> Text:
        status = Text(no_wrap=True, overflow="ellipsis")
        if self._phase is not None:
            name, done, total = self._phase
            status.append(self._phase_text(), style=f"bold {COLORS[name]}")
            if done is not None and total:
                full = round(BAR_CELLS * min(1.0, done / total))
                status.append(" " + "━" * full, style=COLORS[name]).append(
                    "━" * (BAR_CELLS - full), style="bright_black"
                )
        last = self._last
        place = self._step_text(last) if last else self._place
        measure = "reward" if "reward" in last else "loss"
        parts = [
            place,
            _number(measure, last.get(measure), ".3f"),
            _number("length", last.get("length_mean"), ".0f"),
        ]
        for part in (*parts, self._left_text()):
            if part:
                status.append("  " if status else "").append(part)
        return status


def _number(label: str, value: float | None, form: str) -> str:
    return "" if value is None else f"{label} {value:{form}}"


def _share(label: str, value: float | None) -> str:
    return "" if value is None else f"{label} {percent(value, 0)}"


def _seconds(record: Mapping[str, Any], phases: Sequence[str]) -> str:
    return " ".join(
        f"{name} {record[f'seconds_{name}']:.1f}s" for name in phases if record.get(f"seconds_{name}") is not None
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], style: box.Box) -> Table:
    # Edges and padding are spared so that the table stands unbroken in 80 columns; Markdown needs its edges.
    edges = style is box.MARKDOWN
    table = Table(box=style, show_edge=edges, pad_edge=edges, collapse_padding=not edges)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < 2 else "right")
    previous = None
    for row in rows:
        if previous not in (None, row[0]) and style is not box.MARKDOWN:
            table.add_section()
        table.add_row(*row)
        previous = row[0]
    return table
