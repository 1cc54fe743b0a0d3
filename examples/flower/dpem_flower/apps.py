"""Where Flower looks for the applications of this app."""

from controller.flower.apps import client, server

__all__ = ["client", "server"]
