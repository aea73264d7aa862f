"""Pure decisions: typed objects and the time go in, a plan comes out. No clock, no I/O."""
