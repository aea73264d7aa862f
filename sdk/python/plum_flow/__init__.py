"""What controller and agents decide alike: expressions, runs of workflows, the life of a task."""
