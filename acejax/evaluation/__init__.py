"""Evaluation: held-out problems, k samples each; avg@k and unbiased pass@k with intervals."""
