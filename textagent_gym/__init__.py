"""Text environments for agents that are language models; importing this package registers their ids with Gymnasium."""

from textagent_gym.registration import register_all

__version__ = "0.1.0"

register_all()
