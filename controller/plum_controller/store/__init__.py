"""Revisioned objects on a durable engine, and the watch cache that reads are served from."""
