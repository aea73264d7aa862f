"""The workflow engine: carries out what `domain/workflow` decides, durably, one transaction per step."""
