"""What is left of a run that diverged: the state before the step that went wrong."""

from pathlib import Path

import lightning as L  # noqa: N812  (its usual name)

from cf.files.steps import checkpoint
from cf.types import Diverged


class Rescue(L.Callback):
    """Writes a checkpoint when training diverges, and says in the message where it is.

    Attributes:
        dirpath: the run's folder of checkpoints.
    """

    def __init__(self, dirpath: str) -> None:
        self.dirpath = Path(dirpath)

    def on_exception(
        self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException
    ) -> None:
        """The weights are still good: what went wrong was noticed before the step was taken."""
        if not isinstance(exception, Diverged):
            return
        path = checkpoint(self.dirpath, trainer.global_step)
        if not path.exists():  # one written at the end of that step is the better one
            trainer.save_checkpoint(path)
        exception.args = (f"{exception}. The state before that step is kept in {path}",)
