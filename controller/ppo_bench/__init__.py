"""``dpem bench ppo``: the engine against published returns, a loop of networks, and itself."""
