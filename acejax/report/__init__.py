"""Pictures and the one-file HTML page of a run, made from the run's files alone."""
