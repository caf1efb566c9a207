"""What holds unless a configuration says otherwise, for processes that must start fast and load no configuration."""

TIME_LIMIT_S = 6.0  # CPU seconds of one test of a program
MEMORY_LIMIT_MB = 512  # MiB of a program
OURS = "verifier"  # among a stage's rewards: the verifier of the problem's domain; any other name is a module:function
