"""Programs: run in a sandbox, judged by their output."""
