"""What is to be trained, how, and what came of it. Part of ``_training``."""

from __future__ import annotations

from dataclasses import dataclass, field

from skbert._training.network import Network
from skbert._training.rows import Rows

__all__ = ["History", "Monitor", "Settings", "Task"]


@dataclass(frozen=True)
class Settings:
    """How to train."""

    batch_size: int
    learning_rate: float
    weight_decay: float
    dropout: float
    max_epochs: int
    patience: int = 5
    tol: float = 1e-4
    averaging: float = 0.0  # epochs over which weights are averaged; 0 keeps those of the last step


@dataclass
class History:
    """What happened in a training, one entry an epoch."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; the epoch whose weights were kept
    interrupted: bool = False  # by the keyboard
    diverged: bool = False  # a loss was NaN or infinite


class Monitor:
    """Is told of each epoch, and may stop the training. This one does nothing."""

    def begin_epoch(self) -> None:
        """Take notice that an epoch begins."""

    def end_epoch(self, history: History, network: Network) -> bool:
        """Take notice of an epoch that has ended with these weights; return whether to stop."""
        return False


@dataclass(eq=False)
class Task:
    """One ensemble of heads to be trained: its initial weights, its rows, its settings."""

    network: Network  # changed in place
    rows: Rows
    settings: Settings
    monitor: Monitor = field(default_factory=Monitor)
    history: History = field(default_factory=History)
