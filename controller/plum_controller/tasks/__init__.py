"""Tasks that the controller itself executes: builtins, calls to services and addresses, plugins."""
