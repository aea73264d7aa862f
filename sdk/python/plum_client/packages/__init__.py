"""Packages: zips with `start.sh` and `meta.ini` at their root, read without believing anything they say about themselves."""
