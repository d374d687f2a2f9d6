"""Text environments for agents that are language models; importing this package registers their ids with Gymnasium."""

from textagent_gym.registration import register_all

register_all()
