"""Packages on this node: fetched once, verified, kept, and unpacked for each instance that runs them."""
