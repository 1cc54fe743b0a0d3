"""Train one node of a network with MaskablePPO of sb3-contrib, against the heuristic it sees.

Run it with ``python examples/environments/maskable_ppo.py [steps]``; 512 steps take half a minute,
and show that it learns, not what it can learn.
"""

import sys

import numpy as np
from sb3_contrib import MaskablePPO

from controller.environments.gymnasium_env import NodeEnv
from controller.setting import Setting

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 512
setting = Setting(topology="mesh-20", load_hz=25.0, seconds=5.0, warmup_s=1.0)
env = NodeEnv(setting, node=3, reward="all")

model = MaskablePPO("MlpPolicy", env, n_steps=128, batch_size=32, device="cpu", seed=0)
model.learn(STEPS)

for name in ("trained", "heuristic"):
    seen, info = env.reset(seed=4)  # the same draws for both
    total, over = 0.0, False
    while not over:
        if name == "trained":
            action, _ = model.predict(seen, action_masks=env.action_masks(), deterministic=True)
        else:
            action = env.heuristic()
        seen, reward, _, over, info = env.step(np.int64(action))
        total += reward
    print(f"{name}: reward {total:.2f}, delivered {info['delivery_rate']:.3f}")
