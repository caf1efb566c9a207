"""The commands, each a few lines that call one room. Exit codes: 0 done, 2 the user can mend it, 3 a negative answer,
130 interrupted, other a fault of ours.

The verification pool is started before anything imports JAX, so heavy rooms are imported inside the commands.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from acejax import __version__
from acejax.config_files import dump_yaml, load_config
from acejax.defaults import MEMORY_LIMIT_MB, TIME_LIMIT_S
from acejax.errors import UserError
from acejax.heap import keep_freed_memory
from acejax.progress import progress_bar

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="A run's configuration.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, for example seed=1.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"acejax {__version__}")
        raise typer.Exit


@app.callback(help=__doc__.split(".")[0] if __doc__ else "")
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command()
def train(
    config: ConfigPath,
    overrides: Overrides = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
) -> None:
    """Train a policy through all stages of CONFIG, or go on with a run that was interrupted."""
    loaded, _ = load_config(config, overrides or [])
    from acejax.verification.pool import open_pool

    with open_pool(loaded.verification, rewards=loaded.reward_names()) as pool:
        from acejax.training.main import train_in_folder

        finished = train_in_folder(loaded, pool, until)
    if not finished:
        raise typer.Exit(130)


@app.command("config")
def show_config(config: ConfigPath, overrides: Overrides = None) -> None:
    """Print the whole resolved configuration, each value with its origin."""
    loaded, origins = load_config(config, overrides or [])
    sys.stdout.write(dump_yaml(loaded, origins))


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]) -> None:
    """Write report.html of a run."""
    from acejax.report.page import write_report

    Console().print(str(write_report(run)), soft_wrap=True)


@app.command()
def verify(
    problems: Annotated[Path, typer.Option(help="Problems (.jsonl, .csv, .parquet), ours or a known dataset's.")],
    completions: Annotated[Path, typer.Option(help="Completions: problem_id, sample, response.")],
    output: Annotated[
        Path, typer.Option(help="Where the verdicts go (.jsonl); one that was cut goes on, if all inputs are the same.")
    ],
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    reward: Annotated[
        str | None, typer.Option(help="module:function, with verl's or TRL's arguments, instead of our verifiers.")
    ] = None,
    require_think_end: Annotated[bool, typer.Option(help="A response without </think> is wrong.")] = True,
    time_limit_s: Annotated[float, typer.Option(help="CPU seconds per test if a problem states none.")] = TIME_LIMIT_S,
    memory_limit_mb: Annotated[int, typer.Option(help="MiB if a problem states none.")] = MEMORY_LIMIT_MB,
    unsafe: Annotated[bool, typer.Option(help="Run programs even where the sandbox does not hold.")] = False,
) -> None:
    """Judge completions and write a verdict for each."""
    from acejax.verification.pool import VerificationPool
    from acejax.verification.verify import summary
    from acejax.verification.verify import verify as verify_file

    options: dict[str, Any] = {
        "require_think_end": require_think_end,
        "time_limit_s": time_limit_s,
        "memory_limit_mb": memory_limit_mb,
        "unsafe": unsafe,
    }
    pool = VerificationPool(workers, rewards=[reward] if reward else [], **options)
    weights = {reward: 1.0} if reward else None
    with pool, progress_bar("verify") as progress:
        counts, kept = verify_file(problems, completions, output, pool, workers, progress, weights, options)
    Console().print(summary(counts))
    before = f", {kept:,} of them from before" if kept else ""
    Console().print(f"{sum(counts.values()):,} verdicts in {output}{before}", soft_wrap=True)


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
) -> None:
    """Judge the responses that a run recorded again, and list those whose verdict is another one today (exit
    code 3).
    """
    from acejax.tools.audit import audit_run

    if audit_run(run, workers, Console()):
        raise typer.Exit(3)


Dtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16 or float16 for all tensors; otherwise each keeps its own.")
]


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A GGUF file, or any CHECKPOINT.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    dtype: Dtype = None,
    orbax: Annotated[
        bool, typer.Option("--orbax", help="Write an orbax folder instead of a Hugging Face folder.")
    ] = False,
) -> None:
    """Turn a GGUF file, or any checkpoint, into a Hugging Face folder or an orbax folder."""
    from acejax.tools import export as exports

    with progress_bar("converting", in_bytes=True) as progress:
        exports.convert_checkpoint(source, out, dtype, orbax, progress)
    Console().print(f"wrote {out}", soft_wrap=True)


@app.command()
def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="RUN[@STEP|@STAGE|@best], a folder or a hub id.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The Hugging Face folder to write.")],
    dtype: Dtype = None,
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload the folder to this hub repository too.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="If --push makes the repository, only you can see it.")
    ] = False,
) -> None:
    """Write a checkpoint as a Hugging Face folder, and optionally push it to the hub."""
    from acejax.tools import export as exports

    with progress_bar("exporting", in_bytes=True) as progress:
        exports.export_checkpoint(checkpoint, out, dtype, progress)
    Console().print(f"wrote {out}", soft_wrap=True)
    if push is not None:
        Console().print(f"pushed to {exports.push(out, push, private)}", soft_wrap=True)


def _quiet_libraries() -> None:
    """transformers remarks on every import that torch is not there; nothing here needs it."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Entry point of the console script."""
    _quiet_libraries()
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        keep_freed_memory()
    try:
        app(standalone_mode=True)
    except UserError as error:
        print(f"acejax: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
