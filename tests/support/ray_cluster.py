"""A Ray cluster of two nodes on this machine, for tests."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
SIZE = {"num_cpus": 2, "object_store_memory": 100_000_000}


class Nodes:
    """Two nodes, of which the second may die.

    Attributes:
        address: of the cluster.
        head_id: Ray's name of the first node.
        other_id: of the second one.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        head = cluster.add_node(**SIZE, include_dashboard=False)
        self._other: Any = cluster.add_node(**SIZE)
        self.address = str(cluster.address)
        self.head_id, self.other_id = str(head.node_id), str(self._other.node_id)

    def kill_other(self) -> None:
        """Take the second node away with all that runs on it, without a word."""
        self._cluster.remove_node(self._other, allow_graceful=False)

    def revive_other(self) -> None:
        """Put another node in its place."""
        self._other = self._cluster.add_node(**SIZE)
        self.other_id = str(self._other.node_id)


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Start a cluster and connects to it; one at a time on this machine."""
    with (Path(tempfile.gettempdir()) / "textagent-gym-ray-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = os.environ.get("PYTHONPATH")
        # The nodes hand their variables on to the actors, which have to import what the tests define.
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), str(ROOT / "tests" / "baselines"), *filter(None, [path])]
        )
        cluster = Cluster()
        try:
            nodes = Nodes(cluster)
            ray.init(address=nodes.address, log_to_driver=False)
            yield nodes
        finally:
            with suppress(Exception):
                ray.shutdown()
            cluster.shutdown()
            os.environ.pop("PYTHONPATH")
            if path is not None:
                os.environ["PYTHONPATH"] = path
