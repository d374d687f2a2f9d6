"""Two agents in one world: a random team and a team of experts in the same game (`pip install 'textagent-gym[multiagent]'`).

python docs/examples/team.py
"""

from __future__ import annotations

from textagent_gym.multi_agent import textworld_coop
from textagent_gym.multi_agent.teams import ExpertTeam, RandomTeam


def play(team: ExpertTeam | RandomTeam, env: textworld_coop.TextWorldCoop, seed: int) -> tuple[bool, int]:
    """Play one game and return whether the team solved it, and the number of rounds."""
    observations, infos = env.reset(seed=seed)
    team.reset(infos, seed)
    rounds, success = 0, False
    while env.agents:
        actions = team.act(observations, infos)
        observations, _, _, _, infos = env.step(actions)
        rounds += 1
        success = any(info["success"] for info in infos.values())
    return success, rounds


if __name__ == "__main__":
    env = textworld_coop.parallel_env(env_id="TextWorld-Easy-Dense-v0", num_agents=2)
    for team in (RandomTeam(env), ExpertTeam(env)):
        success, rounds = play(team, env, seed=0)
        print(f"{type(team).__name__}: {'solved' if success else 'not solved'} after {rounds} rounds")
