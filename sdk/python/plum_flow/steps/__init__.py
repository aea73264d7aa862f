"""Steps that need nothing but the network: the controller carries them out, and a node in runs that were delegated to it."""
