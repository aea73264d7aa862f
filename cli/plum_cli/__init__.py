"""The `plum` command: what people and scripts use to talk to a Plum server, and `plum dev`, which runs one."""

__version__ = "0.1.0"
"""Of the client. Also in `pyproject.toml`: asking the installed metadata would cost 40 ms. A test compares them."""
