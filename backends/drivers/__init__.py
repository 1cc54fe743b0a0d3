"""Drivers: one file per instrument, each a plain class with the capabilities it offers."""
