"""Datasets that people already have, turned into our records; `detect.py` is the door."""
