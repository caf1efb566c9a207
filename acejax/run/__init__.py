"""A run on disk: its folder, records, checkpoints, and what a person sees of it. Nothing here knows what a step
computes.
"""
