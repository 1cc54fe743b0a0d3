"""From Program to Counts: simulators, instruments, and the worker that serves them."""
