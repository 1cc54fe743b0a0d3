"""Programs on Qiskit Aer: fast by its private interface, the same by its public one."""

from backends.aer.backend import AerBackend

__all__ = ["AerBackend"]
