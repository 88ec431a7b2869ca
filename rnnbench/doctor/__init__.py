"""What disturbs measuring on this machine, what to do about it, and what size of change can be seen here.

``readings`` and ``gpus`` look, ``checks`` and ``kernels`` judge (pure functions of what was read),
``selftest`` measures identical code against itself and against a version with more time steps.
"""
