"""A service that stays up: it keeps pairs in stock and hands them to applications that ask.

``desk`` is its state machine, ``loop`` its sockets; ``stock`` plays the network, ``answers``
remembers what was said, ``journal`` keeps it, ``checking`` proves from the journal that nothing was
lost or done twice.
"""
