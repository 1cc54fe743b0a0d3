"""The language that agents, backends and stubs share, and the network world."""
