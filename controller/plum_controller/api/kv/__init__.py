"""The key-value store over HTTP: `/kv/NAMESPACE/KEY`, values as they are."""
