"""Devices of this node: the address they speak to, their operations and their reports, on disk before anybody relies on them."""
