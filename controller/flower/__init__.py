"""Federated rounds over Flower: every site trains its own agents, the server averages.

``plan``, ``site`` and ``rounds`` know nothing of Flower and play the same rounds in one process;
``strategy`` and ``apps`` carry them over SuperLink and SuperNodes (extra ``flower``).
"""
