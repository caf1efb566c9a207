"""Verification: what a response is worth. This room never imports JAX."""
