"""When the next requests come: streams, the recurrent forecaster, its rivals and their judge.

``streams`` remembers what was asked, in kernels; ``recurrence`` is the network, stacked in torch to
learn and a kernel to act; ``foresight`` puts them together and learns online; ``rivals`` and
``quantum.traffic_truth`` stand below and above it; ``judging`` walks all of them forward in time.
"""
