"""The `/v1` routes that programs of the system before bring with them, over the same objects as everything else."""
