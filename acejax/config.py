"""The typed run configuration: YAML files with `extends`, dotted overrides, and the origin of every value.

A configuration is a tree of frozen pydantic models that refuse unknown keys and wrong types. `load_config` merges the
files of an `extends` chain and the overrides key by key, remembers where each value came from, and validates the whole;
every error is a UserError that names the place. Stages are a mapping from name to stage in the order in which they run,
so that an override or a child file addresses one by name; a stage set to null is removed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from acejax.errors import UserError

PositiveInt = typing.Annotated[int, pydantic.Field(ge=1)]
Share = typing.Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = typing.Annotated[float, pydantic.Field(gt=0)]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Architecture(Strict):
    """Shape of a policy that starts from random weights; the names are those of a Hugging Face config.json."""

    model_type: Literal["qwen2", "qwen3", "llama"] = "qwen2"
    hidden_size: PositiveInt = 128
    intermediate_size: PositiveInt = 384
    num_hidden_layers: PositiveInt = 4
    num_attention_heads: PositiveInt = 4
    num_key_value_heads: PositiveInt = 2
    head_dim: PositiveInt | None = None
    rope_theta: Positive = 10_000.0
    rms_norm_eps: Positive = 1e-6
    tie_word_embeddings: bool = True
    max_position_embeddings: PositiveInt = 2048


class Policy(Strict):
    """`preset` names the shape that `init` must have (policy/presets.py). `attention` is the form of attention over
    whole rows: plain XLA, the splash kernel of TPUs, the flash kernel of GPUs; "auto" takes the device's.
    `weight_dtype` is that of the weights which are trained: in bfloat16 an update below 1/256 of a weight is lost."""

    architecture: Architecture | None = None
    preset: str | None = None
    attention: Literal["auto", "plain", "splash", "flash"] = "auto"
    weight_dtype: Literal["float32", "bfloat16"] = "float32"
    prompt_style: Literal["builtin", "chat", "r1", "chatml"] = "chat"
    prompt_tokens: PositiveInt = 1024
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class Mesh(Strict):
    """Devices along each axis; -1 takes all that the other leaves. Sampling uses the same shape on each host."""

    fsdp: int = -1
    tensor: int = 1


class ProblemSource(Strict):
    """Where problems come from: a file, or a built-in family group with a split."""

    path: str | None = None
    builtin: Literal["math", "code"] | None = None
    domain: Literal["math", "code"] = "math"
    split: Literal["train", "warm", "heldout"] = "train"
    count: PositiveInt | None = None
    difficulties: list[int] = [1, 2, 3]
    families: list[str] | None = None

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> ProblemSource:
        if (self.path is None) == (self.builtin is None):
            raise ValueError("give exactly one of 'path' and 'builtin'")
        return self


class TraceSource(Strict):
    """Worked solutions: a JSON Lines file of traces, or built-in problems solved by the imperfect teacher."""

    path: str | None = None
    builtin: Literal["math", "code"] | None = None
    count: PositiveInt = 1000
    difficulties: list[int] = [1, 2, 3]
    error_rate: Share = 0.5

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> TraceSource:
        if (self.path is None) == (self.builtin is None):
            raise ValueError("give exactly one of 'path' and 'builtin'")
        return self


class Filter(Strict):
    """Which problems a stage keeps, by the share of earlier attempts that were right (paper: at most 6 of 16)."""

    max_solve_rate: Share = 1.0
    min_solve_rate: Share = 0.0


class Stop(Strict):
    """Ends a stage before its `steps`: at an accuracy reached in every evaluated domain, or on a plateau of the
    reward.
    """

    accuracy: Share | None = None
    plateau_steps: PositiveInt | None = None
    plateau_gain: float = 0.0


class Stage(Strict):
    """One stage of the curriculum. Token counts are tokens of the response; learning rates are AdamW's, whose moments
    each stage begins afresh, as a run of its own would."""

    kind: Literal["sft", "grpo"]
    steps: PositiveInt
    learning_rate: Positive
    warmup_steps: typing.Annotated[int, pydantic.Field(ge=0)] = 0
    decay: Literal["constant", "linear"] = "constant"
    domain: Literal["math", "code"] = "math"
    problems: list[ProblemSource] = []
    traces: list[TraceSource] = []
    response_tokens: PositiveInt = 1024
    prompts_per_step: PositiveInt = 128
    group_size: PositiveInt = 8
    temperature: Positive = 1.0
    filter: Filter = Filter()
    stop: Stop = Stop()
    overlong: Literal["zero", "mask"] = "zero"
    aggregation: Literal["token", "group"] = "token"
    permute_verdicts: bool = False
    evaluate: bool = True

    @pydantic.model_validator(mode="after")
    def _inputs_fit_kind(self) -> Stage:
        if self.kind == "sft" and not self.traces:
            raise ValueError("a stage of kind 'sft' needs 'traces'")
        if self.kind == "grpo" and not self.problems:
            raise ValueError("a stage of kind 'grpo' needs 'problems'")
        if self.kind == "grpo" and self.group_size < 2:
            raise ValueError("group_size must be at least 2, or every advantage is 0")
        return self


class Optimizer(Strict):
    """AdamW. The paper names only AdamW and its learning rates; the other values are its framework's defaults at the
    time.
    """

    beta1: Share = 0.9
    beta2: Share = 0.999
    eps: Positive = 1e-8
    weight_decay: typing.Annotated[float, pydantic.Field(ge=0)] = 0.01
    clip_norm: Positive = 1.0


class Sampling(Strict):
    """`slots`: completions decoded at once; `chunk`: tokens per device call; `stop_ids` join those of the
    checkpoint.
    """

    slots: PositiveInt = 256
    chunk: PositiveInt = 16
    stop_ids: list[int] = []


class Update(Strict):
    """`rows` x `row_tokens` make one micro-batch; null: as long as the stage's longest prompt and response. `remat`
    computes each layer again in the backward pass instead of keeping what it made. `gap_alarm`: a warning is given when
    a token's log-probability differs by more nats between sampler and trainer."""

    rows: PositiveInt = 8
    row_tokens: PositiveInt | None = None
    remat: bool = True
    gap_alarm: Positive = 0.1


# Of one test of a program, where neither its problem nor the configuration says otherwise.
TIME_LIMIT_S = 6.0  # seconds of CPU time
MEMORY_LIMIT_MB = 512  # MiB


class Verification(Strict):
    workers: PositiveInt | None = None
    require_think_end: bool = True
    time_limit_s: Positive = TIME_LIMIT_S
    memory_limit_mb: PositiveInt = MEMORY_LIMIT_MB
    max_unjudged: Share = 0.05
    unsafe: bool = False


class EvaluationSet(Strict):
    problems: list[ProblemSource]
    response_tokens: PositiveInt = 1024


class Evaluation(Strict):
    """Held-out measurement: `samples` completions a problem; `every` steps on `small` problems of each set (0: never).
    Temperature 0 is greedy."""

    sets: dict[str, EvaluationSet] = {}
    samples: PositiveInt = 8
    temperature: typing.Annotated[float, pydantic.Field(ge=0)] = 0.6
    top_p: typing.Annotated[float, pydantic.Field(gt=0, le=1)] = 0.95
    every: typing.Annotated[int, pydantic.Field(ge=0)] = 0
    small: PositiveInt = 32


class Checkpoints(Strict):
    """`export` writes a Hugging Face folder in that dtype to RUN/exports/STAGE at each stage's end."""

    export: Literal["float32", "bfloat16"] | None = None
    every: PositiveInt = 20
    keep: PositiveInt = 2


class Logging(Strict):
    tensorboard: bool = True
    samples_per_step: typing.Annotated[int, pydantic.Field(ge=0)] = 8


class RunConfig(Strict):
    """A whole run. `init` is a checkpoint; without it `policy.architecture` starts from random weights."""

    output: str
    seed: int = 0
    init: str | None = None
    policy: Policy = Policy()
    mesh: Mesh = Mesh()
    stages: dict[str, Stage]
    optimizer: Optimizer = Optimizer()
    sampling: Sampling = Sampling()
    update: Update = Update()
    verification: Verification = Verification()
    evaluation: Evaluation = Evaluation()
    checkpoints: Checkpoints = Checkpoints()
    logging: Logging = Logging()

    @pydantic.model_validator(mode="after")
    def _has_a_start(self) -> RunConfig:
        if self.init is None and self.policy.architecture is None:
            raise ValueError("give 'init' (a checkpoint) or 'policy.architecture' (random weights)")
        if not self.stages:
            raise ValueError("give at least one stage under 'stages'")
        for name, stage in self.stages.items():
            if name in ("start", "end"):
                raise ValueError(f"a stage cannot be called '{name}': the summary uses that name; choose another")
            longest, row = self.policy.prompt_tokens + stage.response_tokens, self.update.row_tokens
            if row is not None and row < longest:
                raise ValueError(
                    f"update.row_tokens={row} is shorter than the {longest} tokens of a sequence of stage '{name}'; raise it"
                )
            if stage.kind == "grpo" and stage.group_size > self.sampling.slots:
                raise ValueError(
                    f"stages.{name}.group_size={stage.group_size} exceeds sampling.slots={self.sampling.slots}; raise the slots"
                )
            if stage.stop.accuracy is not None and not self.evaluation.every:
                raise ValueError(f"stages.{name}.stop.accuracy needs evaluation.every > 0; set it")
        if self.evaluation.sets and self.evaluation.samples > self.sampling.slots:
            raise ValueError(
                f"evaluation.samples={self.evaluation.samples} exceeds sampling.slots={self.sampling.slots}; raise the slots"
            )
        return self

    def identity(self) -> str:
        """Digest of all that changes the results. Mesh, workers, logging, intervals and numbers of steps are left
        out.
        """
        tree = self.model_dump()
        for name in ("output", "mesh", "logging", "checkpoints"):
            del tree[name]
        del tree["verification"]["workers"], tree["evaluation"]["every"], tree["evaluation"]["small"]
        for stage in tree["stages"].values():
            del stage["steps"]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-6 as a string; here it is a number, as everyone who writes a learning rate expects."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|nan))$"
    ),
    list("-+0123456789."),
)

Origins = dict[str, str]


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> tuple[RunConfig, Origins]:
    """Reads `path`, the files that it extends, and `overrides` ("a.b=value", the value in YAML).

    Returns the configuration and, for each dotted key that was set, where ("file:line" or "command line"); the rest are
    defaults. Raises UserError for a missing file, malformed YAML, an unknown key (with the nearest name) or a wrong
    type.
    """
    tree, origins = _read(Path(path), ())
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise UserError(f"override '{text}': write it as key=value, for example seed=1")
        try:
            value = yaml.load(raw, Loader=_Loader)
        except yaml.YAMLError:
            value = raw
        nested = _nest(key.split("."), value)
        _merge(tree, origins, nested, dict.fromkeys(_keys(nested, ()), "command line"), ())
    stages = tree.get("stages")
    if isinstance(stages, dict):
        tree["stages"] = {name: stage for name, stage in stages.items() if stage is not None}
    try:
        return RunConfig.model_validate(tree), origins
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, origins)) from None


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"config {path}: {error.strerror or error}; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"config {path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    if path.resolve() in seen:
        raise UserError(f"config {path}: 'extends' goes round in a circle; remove it from one of the files")
    try:
        node = yaml.compose(text, Loader=_Loader)
        tree = yaml.load(text, Loader=_Loader) or {}
    except yaml.YAMLError as error:
        raise UserError(f"config {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"config {path}: found {type(tree).__name__} at the top; write keys and values")
    origins = {key: f"{path}:{line}" for key, line in _lines(node, ())}
    base = tree.pop("extends", None)
    if base is None:
        return tree, origins
    if not isinstance(base, str):
        raise UserError(f"config {path}: 'extends' is {base!r}; give the path of one YAML file, relative to this one")
    merged, merged_origins = _read(path.parent / base, (*seen, path.resolve()))
    _merge(merged, merged_origins, tree, origins, ())
    return merged, merged_origins


def _lines(node: yaml.Node | None, path: tuple[str, ...]) -> list[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    found = []
    for key, value in node.value:
        here = (*path, str(key.value))
        found.append((".".join(here), key.start_mark.line + 1))
        found += _lines(value, here)
    return found


def _merge(
    base: dict[str, Any], base_origins: Origins, top: Mapping[str, Any], origins: Origins, path: tuple[str, ...]
) -> None:
    for key, value in top.items():
        here = ".".join((*path, str(key)))
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], base_origins, value, origins, (*path, str(key)))
            continue
        base[key] = value
        for name in [n for n in base_origins if n.startswith(here + ".")]:
            del base_origins[name]
        base_origins.update({n: o for n, o in origins.items() if n == here or n.startswith(here + ".")})


def _nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value


def _keys(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    found = []
    for key, value in tree.items():
        here = (*path, str(key))
        found.append(".".join(here))
        if isinstance(value, dict):
            found += _keys(value, here)
    return found


def _explain(error: pydantic.ValidationError, origins: Origins) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    places = [".".join(location[:n]) for n in range(len(location), 0, -1)]
    origin = next((origins[place] for place in places if place in origins), "config")
    if first["type"] == "extra_forbidden":
        names = _fields_at(first["loc"][:-1])
        near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
        hint = (
            f"did you mean '{'.'.join([*location[:-1], near[0]])}'?"
            if near
            else f"the keys here are {', '.join(names)}"
        )
        return f"{origin}: unknown key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"{origin}: key '{key}' is missing; add it"
    what = first["msg"].removeprefix("Value error, ")
    found = "" if first["type"] == "value_error" else f" (found {first['input']!r})"
    place = f"'{key}': " if key else ""
    return f"{origin}: {place}{what}{found}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """The field names of the model at a place in the tree of models; empty where there is none."""
    kind: Any = RunConfig
    for part in location:
        model = _model_in(kind)
        if model is not None and part in model.model_fields:
            kind = model.model_fields[str(part)].annotation
        elif typing.get_origin(kind) in (dict, list):
            kind = typing.get_args(kind)[-1]
    model = _model_in(kind)
    return list(model.model_fields) if model else []


def _model_in(kind: Any) -> type[pydantic.BaseModel] | None:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, pydantic.BaseModel)), None)


def dump_yaml(config: RunConfig, origins: Origins | None = None) -> str:
    """The whole configuration as YAML; with `origins`, each value is followed by a comment that says where it came
    from.
    """
    lines: list[str] = []

    def write(tree: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, value in tree.items():
            here = (*path, key)
            indent = "  " * len(path)
            if isinstance(value, dict) and value:
                lines.append(f"{indent}{key}:")
                write(value, here)
                continue
            text = yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("\n...\n").strip()
            note = "" if origins is None else f"  # {origins.get('.'.join(here), 'default')}"
            lines.append(f"{indent}{key}: {text}{note}")

    write(config.model_dump(), ())
    return "\n".join(lines) + "\n"
