"""The twin as an environment for learning: arrays inside, Gymnasium and PettingZoo outside."""
