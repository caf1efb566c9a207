"""Training: the loop, its stages, its checkpoints, and what it tells people. This file stays free of JAX for the
report's sake.
"""
