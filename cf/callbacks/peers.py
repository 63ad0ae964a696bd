"""What ends a run on several processes when one of them is gone."""

import logging
import sys
from typing import Any

import lightning as L  # noqa: N812  (its usual name)
from lightning.pytorch.strategies import ParallelStrategy

from cf.system.peers import Peers
from cf.system.signals import Stopped
from cf.types import Diverged

log = logging.getLogger("cf.fit")


class WatchOverPeers(L.Callback):
    """Ends all processes of a run soon after one has ended by mischance, with one message.

    Without it the others wait in a collective operation until that times out.

    Attributes:
        again: how the run goes on, for the message.
    """

    def __init__(self, again: str) -> None:
        self.again = again
        self._peers: Peers | None = None

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Connect to the others, who have found each other by now."""
        strategy = trainer.strategy
        if trainer.world_size == 1 or not isinstance(strategy, ParallelStrategy):
            return
        rank = trainer.global_rank
        told = rank == 1 or trainer.local_rank == 0  # of the first process, which cannot say it
        peers = Peers(rank, trainer.world_size, told, self._say)
        place: Any = strategy.broadcast(peers.open() if rank == 0 else None)
        assert strategy.cluster_environment is not None
        peers.begin(strategy.cluster_environment.main_address, *place)
        self._peers = peers

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Part in peace."""
        if self._peers is not None:
            self._peers.leave()

    def on_exception(
        self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException
    ) -> None:
        """An error of this process alone ends all; what all of them meet is theirs to say."""
        if self._peers is not None and not isinstance(exception, Diverged | Stopped):
            self._peers.fail()

    def _say(self, what: str) -> None:
        log.error("%s, so all processes of this run end; go on with: %s", what, self.again)
        sys.stdout.flush()
        sys.stderr.flush()
