"""Tasks on this node: attempts that it takes, runs under its drivers, and reports."""
