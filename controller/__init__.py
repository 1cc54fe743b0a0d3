"""From history to Create: agents, broker, learning, rivals, experiments."""
