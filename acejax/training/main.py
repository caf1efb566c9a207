"""A run from its configuration to its report: what `acejax train` does once the verification pool stands."""

from __future__ import annotations

from acejax.config import RunConfig
from acejax.errors import UserError
from acejax.problems.sources import check_sources
from acejax.report.page import write_report
from acejax.run.console import RunConsole
from acejax.run.folder import open_run
from acejax.run.records import Records
from acejax.run.signals import Signals
from acejax.training.loop import train, write_run_summary
from acejax.training.setup import build_run
from acejax.verification.pool import VerificationPool


def train_in_folder(config: RunConfig, pool: VerificationPool, until: str | None = None) -> bool:
    """Trains in the folder that `config` names, or goes on there. Returns false if a signal ended it.

    Raises UserError for what the user can mend.
    """
    _check_names(config, until)
    with open_run(config) as folder, RunConsole(folder / "log.txt") as console, Signals().held() as signals:
        records = Records(folder, config.logging.tensorboard)
        run = build_run(config, folder, pool, console, records, signals)
        finished = train(run, until)
        entries = write_run_summary(run, finished)
        records.close()
        console.closing_table(entries)
        console.say(f"report: {write_report(folder)}")
    return finished


def _check_names(config: RunConfig, until: str | None) -> None:
    """Refuses a stage and files that are not there, before the policy is loaded."""
    if until is not None and until not in config.stages:
        raise UserError(f"--until {until}: no such stage; the stages are {', '.join(config.stages)}")
    for stage in config.stages.values():
        check_sources([*getattr(stage, "problems", ()), *getattr(stage, "traces", ())])
    for one in config.evaluation.sets.values():
        check_sources(one.problems)
