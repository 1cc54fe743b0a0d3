"""DPEM's federated rounds as a Flower app; all of it is in the package ``controller.flower``."""
