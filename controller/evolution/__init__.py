"""Warm start: the few shared weights of the policy, found by trying them on many short games.

An evolution strategy needs no gradients, no critic and no credit for single decisions: it tries
weights, greedily and without learning, on the draws that the tuned mean-rate rule was played on
too. What it finds is where PPO starts from.
"""
