"""The decisions of the workflow engine: what follows from an event of a run. Pure: the time is part of the event."""
