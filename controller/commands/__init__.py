"""Subcommands of ``dpem`` that decide, learn and compare."""
