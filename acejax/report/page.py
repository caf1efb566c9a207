"""A run's report.html: one file with everything in it, no script and no outside address, made from the run folder
alone.

It may be written at any time: a run that was interrupted, or that still goes, gets the page of what it has logged so
far.
"""

from __future__ import annotations

from pathlib import Path

from acejax.files import write_whole
from acejax.report import sections
from acejax.report.markup import document
from acejax.report.reading import read_run
from acejax.report.responses import responses

SECTIONS = (
    sections.head,
    sections.results,
    sections.accuracy,
    sections.learning,
    sections.health,
    sections.difficulty,
    sections.failures,
    sections.stages,
    responses,
    sections.details,
)


def write_report(folder: Path) -> Path:
    """Writes `folder`/report.html from the run's files and returns its path. The file is replaced whole.

    Files that are absent or half-written cost only their sections. Raises UserError if the folder holds no run.
    """
    run = read_run(folder)
    page = document(f"{run.name} · acejax run", [section(run) for section in SECTIONS])
    path = folder / "report.html"
    write_whole(path, page.encode("utf-8", errors="replace"))
    return path
