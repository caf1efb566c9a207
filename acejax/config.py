"""The typed run configuration: a tree of frozen pydantic models that refuse unknown keys and wrong types.

Stages are a mapping from name to stage in the order in which they run, so that an override or a child file addresses
one by name. How files become a configuration is config_files.py's business.
"""

from __future__ import annotations

import typing
from typing import Any, Literal

import pydantic

from acejax.defaults import MEMORY_LIMIT_MB, OURS, TIME_LIMIT_S

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
    """Devices along each axis; -1 takes all that the others leave. Sampling uses the same shape on each host.

    `data` holds whole copies of the weights and splits the batch, `fsdp` splits both, `tensor` splits heads and the
    feed-forward width. `sequence` is kept for the length of a row, which cannot be split yet: it must be 1.
    """

    fsdp: int = -1
    tensor: int = 1
    data: int = 1
    sequence: int = 1


class ProblemSource(Strict):
    """Where problems come from: a file, or a built-in family group with a split."""

    path: str | None = None
    builtin: Literal["math", "code"] | None = None
    domain: str = "math"
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
    """Ends a stage before its `steps`: at an accuracy reached in every evaluated domain."""

    accuracy: Share | None = None


class RewardStop(Stop):
    """Besides, on a plateau of the reward: where its mean over `plateau_steps` has risen by `plateau_gain` at most."""

    plateau_steps: PositiveInt | None = None
    plateau_gain: float = 0.0


class StageBase(Strict):
    """What every kind of stage has. Token counts are tokens of the response; learning rates are AdamW's, whose moments
    each stage begins afresh, as a run of its own would. `domain` is what its rows in metrics.jsonl are called.
    """

    steps: PositiveInt
    learning_rate: Positive
    warmup_steps: typing.Annotated[int, pydantic.Field(ge=0)] = 0
    decay: Literal["constant", "linear"] = "constant"
    domain: str = "math"
    response_tokens: PositiveInt = 1024
    prompts_per_step: PositiveInt = 128
    evaluate: bool = True

    def slots_needed(self) -> int:
        """Completions that must be decoded at once."""
        return 0

    def reward_names(self) -> list[str]:
        """The user's own rewards that the stage asks for, each "module:function"."""
        return []


class SftStage(StageBase):
    """Imitation of worked solutions."""

    kind: Literal["sft"]
    traces: typing.Annotated[list[TraceSource], pydantic.Field(min_length=1)]
    stop: Stop = Stop()

    @property
    def subject(self) -> str:
        """What the stage learns from, in a word or two."""
        return "worked solutions"


class GrpoStage(StageBase):
    """Reinforcement of verified completions. `rewards` gives what a completion earns as weights: of "verifier" (ours: 1
    or 0) and of functions of your own ("module:function"); null is our verifier alone.
    """

    kind: Literal["grpo"]
    problems: typing.Annotated[list[ProblemSource], pydantic.Field(min_length=1)]
    group_size: typing.Annotated[int, pydantic.Field(ge=2)] = 8  # alone in its group, a completion has advantage 0
    temperature: Positive = 1.0
    filter: Filter = Filter()
    stop: RewardStop = RewardStop()
    overlong: Literal["zero", "mask"] = "zero"
    aggregation: Literal["token", "group"] = "token"
    permute_verdicts: bool = False
    rewards: dict[str, pydantic.FiniteFloat] | None = None

    @pydantic.field_validator("rewards")
    @classmethod
    def _name_rewards(cls, rewards: dict[str, float] | None) -> dict[str, float] | None:
        for name in rewards or ():
            module, _, function = name.partition(":")
            if name != OURS and not (module and function):
                raise ValueError(f"'{name}' is no reward; write 'verifier' or module:function")
        if rewards is not None and not any(rewards.values()):
            raise ValueError("no reward has a weight; give at least one that is not 0, or null")
        return rewards

    @property
    def subject(self) -> str:
        return self.domain

    def slots_needed(self) -> int:
        return self.group_size

    def reward_names(self) -> list[str]:
        return [name for name in self.rewards or () if name != OURS]


Stage = typing.Annotated[SftStage | GrpoStage, pydantic.Field(discriminator="kind")]


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


class Verification(Strict):
    workers: PositiveInt | None = None
    require_think_end: bool = True
    time_limit_s: Positive = TIME_LIMIT_S
    memory_limit_mb: PositiveInt = MEMORY_LIMIT_MB
    reward_deadline_s: Positive = 60.0
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


class FolderConfig(Strict):
    """What belongs to a folder, which one configuration alone may fill: a run's, an evaluation's, a data set's.

    `FREE` are the dotted keys (`*`: any name) that may change when the same work is taken up again.
    """

    FREE: typing.ClassVar[tuple[str, ...]] = ("output",)

    output: str

    def identity(self) -> dict[str, Any]:
        """All that changes the results, as a plain tree."""
        tree = self.model_dump()
        for key in self.FREE:
            _drop(tree, key.split("."))
        return tree


def _drop(tree: dict[str, Any], path: list[str]) -> None:
    first, *rest = path
    if not rest:
        tree.pop(first, None)
        return
    for inner in list(tree.values()) if first == "*" else [tree[first]]:
        _drop(inner, rest)


class RunConfig(FolderConfig):
    """A whole run. `init` is a checkpoint; without it `policy.architecture` starts from random weights."""

    FREE = (
        "output",
        "mesh",
        "logging",
        "checkpoints",
        "verification.workers",
        "evaluation.every",
        "evaluation.small",
        "stages.*.steps",
    )

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
                    f"update.row_tokens={row} is shorter than the {longest} tokens of a sequence of stage '{name}'; "
                    "raise it"
                )
            if stage.slots_needed() > self.sampling.slots:
                raise ValueError(
                    f"stages.{name}.group_size={stage.slots_needed()} exceeds sampling.slots={self.sampling.slots}; "
                    "raise the slots"
                )
            if stage.stop.accuracy is not None and not self.evaluation.every:
                raise ValueError(f"stages.{name}.stop.accuracy needs evaluation.every > 0; set it")
        if self.evaluation.sets and self.evaluation.samples > self.sampling.slots:
            raise ValueError(
                f"evaluation.samples={self.evaluation.samples} exceeds sampling.slots={self.sampling.slots}; "
                "raise the slots"
            )
        return self

    def reward_names(self) -> list[str]:
        """The user's own rewards that any stage asks for."""
        return sorted({name for stage in self.stages.values() for name in stage.reward_names()})
