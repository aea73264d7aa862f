"""Parts of the Sync controller: what lives, where manifests come from, what an apply would do, doing it."""
