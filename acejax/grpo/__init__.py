"""GRPO: group advantages, the token-level objective, and the jitted update. Nothing here knows text."""
