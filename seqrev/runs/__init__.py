"""Run folders: their numbers, the record of what ran, checkpoints and metrics. No PyTorch."""
