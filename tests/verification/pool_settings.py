"""What a pool of tests was asked for, where there is no pool."""

from acejax.verification.verifier import Settings

SETTINGS = Settings(
    folder="",
    workers=2,
    rewards=(),
    require_think_end=True,
    time_limit_s=1.0,
    memory_limit_mb=512,
    math_deadline_s=5.0,
    reward_deadline_s=60.0,
    unsafe=False,
    backend=None,
    recycle_after=10,
    recycle_mb=1024,
)
