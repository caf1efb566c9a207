"""Tools on a finished run: nothing here knows how it was made."""
