"""One module per command: `configure` declares its arguments, `run` does it and returns the exit code.

A module is imported only when its command is asked for, so a command pays for nothing but its own imports.
"""
