"""Commands that need only the shared language."""
