"""Runs of workflows that this node carries out by itself, with or without the controller. Loaded with the first of them."""
