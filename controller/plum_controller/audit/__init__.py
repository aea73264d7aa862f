"""The audit log: who asked for what, when, and what became of it. Written beside the store, in files of its own."""
