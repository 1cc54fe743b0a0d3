"""The live page of a run: from the bytes of its record to what a browser draws.

``tail`` turns bytes into verified events, ``story`` events into a state, ``frame`` a state into
plain values and their differences, ``moments`` remembers states so that one can go back in time.
None of them opens a file or a socket. ``watch`` reads the folder, ``server`` speaks HTTP.
"""
