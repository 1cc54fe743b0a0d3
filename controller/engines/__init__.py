"""Where independent work is done: in processes of this machine, or on a Ray cluster.

An engine is a function that does ``work(task)`` for every task. What comes out depends on the tasks
alone, so that every engine gives the same bytes.
"""
