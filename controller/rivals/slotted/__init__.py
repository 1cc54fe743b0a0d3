"""Slotted protocols: rounds of some slots, in the four phases of Shi and Qian.

P1 collects the requests of the round, P2 commits paths and widths from mean rates, P3 generates on
what was committed, P4 swaps along the paths with what was heralded (SIGCOMM 2020,
arXiv:1909.09329). Q-CAST, Q-PASS and the greedy multipath of Pant et al. share these kernels.
"""
