"""Other simulators of quantum networks, installed apart and given the same work."""

from quantum.peers.bench import peers

__all__ = ["peers"]
