"""acejax: verification-based reinforcement learning for reasoning models, in JAX, on TPUs."""

__version__ = "0.1.0"
