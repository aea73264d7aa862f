"""The control plane on a copy in memory, under virtual time: what `plum plan` asks, and what simulations run on."""
