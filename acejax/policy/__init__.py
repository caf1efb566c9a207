"""The policy: its shape, its forward pass, and its checkpoints in the Hugging Face layout."""
