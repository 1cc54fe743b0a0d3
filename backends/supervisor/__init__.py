"""The safety of a rack: one process owns its instruments, and another watches over that process.

::

    agents -> broker -> worker -> supervisor -> instruments
                                   guardian  -> instruments, where the supervisor is lost

:mod:`.desk` decides what may be done, without sockets; :mod:`.rig` holds the instruments behind
:mod:`.guard`; :mod:`.wire` is the socket loop, :mod:`.process` the supervisor's process,
:mod:`.guardian` the process around it, :mod:`.client` what a worker uses. No certified safety
function: see ``docs/safety.md``.
"""
