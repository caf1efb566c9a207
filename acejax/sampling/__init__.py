"""The sampling loop: prompts prefilled once, completions decoded a chunk of tokens per device call."""
