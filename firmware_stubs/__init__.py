"""Firmware stubs: instruments that speak their real bytes and share one virtual bench."""
