"""What every write passes: the registry of kinds, defaults, validation, owners of fields, deletion."""
