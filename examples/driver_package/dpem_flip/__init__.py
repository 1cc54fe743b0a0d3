"""A shutter that flips: driver and stub, as an example of a driver package for DPEM."""
