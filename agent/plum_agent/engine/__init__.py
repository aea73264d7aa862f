"""Speaking with a container engine on this machine, over its unix socket."""
