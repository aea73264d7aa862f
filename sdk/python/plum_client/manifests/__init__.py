"""Manifests as people write them: texts to objects, with the line of every field kept. Read by the command and by Syncs."""
