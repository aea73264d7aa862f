"""Labels and annotations of what is made for runs."""

from __future__ import annotations

RUN_LABEL = "plum.dev/workflow-run"
"""On everything that is made for a run: its name."""
NODE_ANNOTATION = "plum.dev/workflow-node"
"""Key of the node it was made for."""
ATTEMPT_ANNOTATION = "plum.dev/workflow-attempt"
KEY_ANNOTATION = "plum.dev/idempotency-key"
DEPTH_LABEL = "plum.dev/workflow-depth"
CARRIED_ANNOTATION = "plum.dev/carried-by"
"""On a run inside of a delegated one: the node that has begun it by itself."""
MAX_DEPTH = 16
"""Workflows inside workflows: deeper ones call themselves."""
