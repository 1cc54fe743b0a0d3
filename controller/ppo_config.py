"""What can be tuned in PPO, with its defaults and limits."""

from dataclasses import dataclass

from quantum.errors import InputError

__all__ = ["PPOConfig"]


@dataclass(frozen=True)
class PPOConfig:
    """What can be tuned. The defaults suit a small residual on a good heuristic."""

    learning_rate: float = 1e-3
    """Adam's step, times the ``scale`` of each update."""
    gae_lambda: float = 0.95
    """Per decision: 0 trusts the critic, 1 trusts the rewards."""
    clip: float = 0.2
    """How far the probability ratio may leave 1."""
    value_clip: float = 0.2
    """How far a value may move in one update; 0 switches it off."""
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    leash_coefficient: float = 0.1
    """Cost of a nat of divergence from the anchor: the heuristic, unless another one is set."""
    kl_target: float = 0.0
    """Divergence in nats that an update may reach, node by node: a node that goes beyond twice of
    it slows down by a third at once, one that stays below half of it speeds up by half for the next
    update. 0 keeps the learning rate as it is."""
    max_gradient_norm: float = 0.5
    """Per node, over actor and critic together."""
    epochs: int = 4
    minibatches: int = 4
    normalise_minibatches: bool = False
    """Whether advantages are normalised in every minibatch, not once over the rollout: a node has
    few decisions, and those of a small minibatch say little about their spread."""
    adam_epsilon: float = 1e-5
    temperature: float = 1.0
    """Divides the heuristic's scores; the acting kernel must be given the same."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip", "max_gradient_norm", "adam_epsilon", "temperature"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise InputError(f"ppo.{name} must be > 0 and finite, got {getattr(self, name)}")
        for name in (
            "value_clip",
            "value_coefficient",
            "entropy_coefficient",
            "leash_coefficient",
            "kl_target",
        ):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise InputError(f"ppo.{name} must be >= 0 and finite, got {getattr(self, name)}")
        if not 0.0 <= self.gae_lambda <= 1.0:
            raise InputError(f"ppo.gae_lambda must be between 0 and 1, got {self.gae_lambda}")
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise InputError(f"ppo.{name} must be >= 1, got {getattr(self, name)}")
