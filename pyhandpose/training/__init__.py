"""Configuration, optimisers, checkpoints, logs and the one training loop."""
