"""How many programs JAX has been given to compile: after a stage's second step there should be none."""

from __future__ import annotations

import jax

# JAX's own name for the moment when a traced program becomes one for a compiler. A hit in the persistent cache counts
# too.
EVENT = "/jax/core/compile/jaxpr_to_mlir_module_duration"


class Lowerings:
    """Counts them from now on, in the whole process."""

    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == EVENT:
            self.count += 1
