"""Building a run, from a configuration or a checkpoint: policy folder, meshes, tokenizer, weights, evaluation sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from acejax import host as hosts
from acejax import mesh as meshes
from acejax.config import RunConfig
from acejax.errors import UserError
from acejax.evaluation.evaluate import HeldOut
from acejax.files import write_whole
from acejax.grpo.update import Optimizer, initial_state
from acejax.policy import port
from acejax.policy.build import compute_dtype, policy_shape
from acejax.policy.config import PolicyConfig, from_hf, to_hf
from acejax.policy.folder import copy_tokenizer
from acejax.policy.transformer import Params, initialise
from acejax.problems.builtin_tokenizer import build_tokenizer
from acejax.problems.problem import Problem
from acejax.problems.sources import gather_problems
from acejax.problems.tokenizer import load_tokenizer, stop_ids, token_count
from acejax.rollout import Prompt, SamplingSetup, render_prompts
from acejax.run import checkpoint
from acejax.run.console import RunConsole
from acejax.run.records import Records
from acejax.run.signals import Signals
from acejax.run.source import Source, resolve
from acejax.training.curriculum import HostState
from acejax.training.state import RunState
from acejax.verification.pool import VerificationPool

VOCABULARY_MULTIPLE = 64  # embedding rows are rounded up to it, so that they divide over tensor axes
RECORDS = "records"  # in a checkpoint's mapping: where the records stood


def build_run(
    config: RunConfig, folder: Path, pool: VerificationPool, console: RunConsole, records: Records, signals: Signals
) -> RunState:
    """The run in `folder` at its latest checkpoint, or at its start.

    Raises UserError for all that the user can mend: axes that do not divide, a checkpoint or tokenizer that does not
    fit, responses longer than the policy's positions, prompts that are all too long.
    """
    mesh = _mesh(config)
    divisor = meshes.row_divisor(mesh)
    if config.update.rows % divisor:
        raise UserError(
            f"update.rows={config.update.rows} is not a multiple of mesh.data x mesh.fsdp={divisor}; round it up"
        )
    saved = hosts.agree(checkpoint.steps(folder), "the list of checkpoints")
    source = None
    if config.init is not None and not saved:
        source = resolve(config.init)

    if saved and not (folder / "policy" / "config.json").exists():
        raise UserError(
            f"{folder / 'policy'}: is missing, but the run has checkpoints; copy it back from an export of the run"
        )
    policy_folder = make_policy_folder(config, folder, source)
    port.read_config(policy_folder)  # an architecture that we do not have is named before its tokenizer is judged
    tokenizer = load_tokenizer(policy_folder)
    platform = meshes.platform(mesh)
    origin = config.init or str(policy_folder)
    policy = policy_shape(config.policy, policy_folder, token_count(tokenizer), platform, origin)
    sampling = _sampling_setup(config, policy, policy_folder, tokenizer, compute_dtype(config.policy, platform))
    _check_lengths(config, policy)

    optimizer = Optimizer(**config.optimizer.model_dump())
    params = _first_weights(config, policy, mesh, source, console)
    optimizer_state = initial_state(params, optimizer, mesh)
    host = HostState()
    if saved:
        found = checkpoint.load_host_state(folder, saved[-1])
        if RECORDS not in found:
            raise UserError(
                f"output {folder}: an earlier version of acejax made this run, which cannot be taken up again; "
                f"choose another output=, with init={folder} if you like"
            )
        host = HostState.from_mapping(found)
        records.go_back_to(found[RECORDS], host.generation)
        params, optimizer_state = checkpoint.restore(folder, saved[-1], params, optimizer_state)
    else:
        records.go_back_to({}, -1)

    run = RunState(
        config=config,
        folder=folder,
        policy=policy,
        mesh=mesh,
        optimizer=optimizer,
        sampling=sampling,
        held_out=[],
        resumed=bool(saved),
        params=params,
        optimizer_state=optimizer_state,
        host=host,
        compiled=set(),
        idle=0,
        pool=pool,
        console=console,
        records=records,
        signals=signals,
    )
    for name, one in config.evaluation.sets.items():
        problems = gather_problems(one.problems, config.seed)
        prompts = prompts_of(config, tokenizer, problems, f"evaluation set '{name}'", run.note)
        run.held_out.append(HeldOut(name, prompts, one.response_tokens))
    return run


def save(run: RunState) -> None:
    """Writes a checkpoint of where the run stands, and removes those that are no longer kept."""
    run.console.phase("saving")
    state = run.host.to_mapping() | {RECORDS: run.records.position()}
    checkpoint.save(run.folder, run.host.generation, run.params, run.optimizer_state, state)
    checkpoint.prune(run.folder, run.config.checkpoints.keep, run.host.finished.values())


def make_policy_folder(config: RunConfig, run: Path, source: Source | None) -> Path:
    """RUN/policy with config.json, tokenizer and generation config; made on the run's first start, from `source` if
    there is one.
    """
    out = run / "policy"
    if (out / "config.json").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    if source is not None:
        copy_tokenizer(source.folder, out)
        text = (source.folder / "config.json").read_text()
    else:
        assert config.policy.architecture is not None
        build_tokenizer(out)
        tokenizer = load_tokenizer(out)
        rows = -(-token_count(tokenizer) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        shape = from_hf(config.policy.architecture.model_dump() | {"vocab_size": rows}, "policy.architecture")
        (out / "generation_config.json").write_text(json.dumps({"eos_token_id": tokenizer.eos_token_id}) + "\n")
        text = json.dumps(to_hf(shape), indent=2) + "\n"
    write_whole(out / "config.json", text)  # last: its presence says that the folder is whole
    return out


def prompts_of(
    config: RunConfig, tokenizer: Any, problems: Sequence[Problem], what: str, note: Callable[[str], None]
) -> list[Prompt]:
    """The problems' prompts as the policy reads them; notes how many are too long. Raises UserError if all are."""
    style, limit = config.policy.prompt_style, config.policy.prompt_tokens
    prompts, dropped = render_prompts(problems, tokenizer, style, limit)
    if dropped:
        note(f"{what}: {dropped} of {len(problems)} prompts dropped, longer than policy.prompt_tokens={limit}")
    if not prompts:
        raise UserError(f"{what}: all {len(problems)} prompts are longer than policy.prompt_tokens={limit}; raise it")
    return prompts


def _mesh(config: RunConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    wanted = config.mesh
    return meshes.make_mesh(wanted.fsdp, wanted.tensor, devices, data=wanted.data, sequence=wanted.sequence)


def _sampling_setup(config: RunConfig, policy: PolicyConfig, folder: Path, tokenizer: Any, dtype: str) -> SamplingSetup:
    stops = {*stop_ids(folder, tokenizer), *config.sampling.stop_ids}
    if not stops:
        raise UserError(
            f"{folder}: no token ends a response; set eos_token in tokenizer_config.json, or sampling.stop_ids"
        )
    return SamplingSetup(
        config=policy,
        mesh=_mesh(config, jax.local_devices()),
        tokenizer=tokenizer,
        stop_ids=tuple(sorted(stops)),
        pad_id=tokenizer.pad_token_id or 0,
        prompt_tokens=config.policy.prompt_tokens,
        slots=config.sampling.slots,
        chunk=config.sampling.chunk,
        dtype=dtype,
    )


def _first_weights(
    config: RunConfig, policy: PolicyConfig, mesh: Mesh, source: Source | None, console: RunConsole
) -> Params:
    """Those of `source`, or random ones."""
    dtype = config.policy.weight_dtype
    if source is None:
        return initialise(policy, config.seed, mesh, meshes.TRAINING, dtype)

    def loading(done: int, total: int) -> None:
        console.phase("loading", done >> 20, total >> 20)

    return source.load(policy, mesh, meshes.TRAINING, dtype, loading)


def _check_lengths(config: RunConfig, policy: PolicyConfig) -> None:
    """Prompt and response together must lie within the positions that the policy was made for."""
    budgets = {f"stages.{name}": stage.response_tokens for name, stage in config.stages.items()}
    budgets |= {f"evaluation.sets.{name}": one.response_tokens for name, one in config.evaluation.sets.items()}
    name, longest = max(budgets.items(), key=lambda pair: pair[1])
    if config.policy.prompt_tokens + longest > policy.max_positions:
        raise UserError(
            f"policy.prompt_tokens={config.policy.prompt_tokens} and {name}.response_tokens={longest} are more than "
            f"the policy's {policy.max_positions} positions; lower one of them"
        )
