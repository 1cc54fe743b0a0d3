"""Allocators by name, one file each; installed ones are found by entry point."""
