"""Where a run stands, on disk: the last weights, the best, and the state that names them."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.errors import InputError
from medimg.core.report import cannot_write, write_atomically
from medimg.core.runs import HOPELESS

if TYPE_CHECKING:
    from medimg.core.types import Network

STATE = "state.json"
# a checkpoint is written after every epoch where that takes so long at most; else it takes a
# twentieth of the time
SOON_WRITTEN_S = 0.2
# until one was written, how fast a disk is thought to be; a weight has two moments beside it
BYTES_A_SECOND, BYTES_A_WEIGHT = 200e6, 12
WRITING_SHARE = 0.05


@dataclass
class Progress:
    """Where a run stands; what a checkpoint keeps beside the weights.

    Args:
        epoch: epochs finished.
        history: a row an epoch.
        best_epoch: counted from 1; 0 before the first.
        best, waited: of early stopping; plateau_best, plateau_waited, factor: of the plateau rule.
        last, kept: names of the checkpoint folders that hold the last and the best weights.
        features: key of the kept features that the head is trained on; None for pictures.
        seconds, images: of the training steps alone; elapsed_s: with validation and checkpoints.
    """

    epoch: int = 0
    history: list[dict[str, float | None]] = field(default_factory=list)
    best_epoch: int = 0
    best: float | None = None
    waited: int = 0
    plateau_best: float | None = None
    plateau_waited: int = 0
    factor: float = 1.0
    last: str | None = None
    kept: str | None = None
    features: str | None = None
    stopped_by: str | None = None
    seconds: float = 0.0
    images: int = 0
    elapsed_s: float = 0.0


@dataclass
class Checkpoints:
    """Folders of weights beside a state file that is written last: a killed run leaves the old
    state or the new one, and the folders that it names.

    Large networks are not written after every epoch: a run goes on from the last that was, to the
    same end.

    Args:
        best: the best weights, where no file holds them yet.
        took_s: how long writing took the last time; `ended` is the clock when it ended.
    """

    folder: Path
    best: dict[str, Any] | None = None
    took_s: float = 0.0
    ended: float = 0.0

    def read(self) -> Progress | None:
        """The last state; None before the first epoch ended."""
        try:
            data = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"{self.folder / STATE} is damaged: {error}", "Train again.") from None
        return Progress(**data)

    def expect(self, network: Network) -> None:
        """Guesses how long writing will take, so that large networks are not written at once."""
        self.took_s = network.parameters().trainable * BYTES_A_WEIGHT / BYTES_A_SECOND
        self.ended = time.perf_counter()

    def keep(self, network: Network, progress: Progress, improved: bool) -> None:
        """After an epoch: files where they are due, else the best weights in memory."""
        idle = time.perf_counter() - self.ended
        quick = self.took_s <= SOON_WRITTEN_S or idle * WRITING_SHARE >= self.took_s
        # where the clock ended the training, going on would not end at the same epoch
        if quick or progress.stopped_by == "minutes":
            self.write(network, progress, improved)
        elif improved:
            # the ones before go first: large heads would not fit twice
            self.best = None
            self.best = network.weights()

    def write(self, network: Network, progress: Progress, improved: bool) -> None:
        """The last weights with the optimizer's state, and the best."""
        started = time.perf_counter()
        progress.last = self.save(network, progress.epoch, training=True)
        if improved:
            progress.kept = progress.last
        elif self.best is not None:
            now = network.weights()
            network.set_weights(self.best)
            progress.kept = self.save(network, progress.best_epoch, training=False)
            network.set_weights(now)
        self.best = None
        write_atomically(self.folder / STATE, json.dumps(asdict(progress), indent=1))
        self.forget_all_but({progress.last, progress.kept})
        self.ended = time.perf_counter()
        self.took_s = self.ended - started

    def save(self, network: Network, epoch: int, training: bool) -> str:
        """The name of a new folder with the network's weights."""
        name = f"epoch-{epoch:04d}"
        try:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
            network.save(self.folder / name, training=training)
        except OSError as error:
            # half a checkpoint is of no use, and the disk may be full
            shutil.rmtree(self.folder / name, ignore_errors=True)
            raise cannot_write(self.folder / name, error) from error
        return name

    def restore_best(self, network: Network, progress: Progress) -> None:
        """Leaves the best weights in the network, which holds the last."""
        if progress.best_epoch == progress.epoch:
            return
        if self.best is not None:
            network.set_weights(self.best)
        elif progress.kept:
            network.restore(self.folder / progress.kept)

    def give_up(self, progress: Progress) -> None:
        """Writes down that the training broke down, so that nobody goes on with it."""
        progress.stopped_by = HOPELESS
        write_atomically(self.folder / STATE, json.dumps(asdict(progress), indent=1))

    def forget_all_but(self, names: set[str | None]) -> None:
        for folder in self.folder.glob("epoch-*"):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)
