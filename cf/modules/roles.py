"""Which of a training's roles are adapters on a frozen network, and which are networks."""

from __future__ import annotations

from dataclasses import dataclass

from cf.models.adapters import Adapter
from cf.models.base import Backbone


@dataclass(frozen=True)
class RoleAdapters:
    """A role with an adapter freezes the network that it begins with, and trains the adapter alone.

    Roles that are given one and the same network share it: it is held once.

    Attributes:
        student, critic: of these roles; None: the whole network is trained.
        teacher: which is not trained: a LoRA that is not merged, so that the network can be shared.
    """

    student: Adapter | None = None
    critic: Adapter | None = None
    teacher: Adapter | None = None

    def __post_init__(self) -> None:
        if self.teacher is not None and self.teacher.path is None:
            raise ValueError(
                "adapters.teacher is not trained, and so wants a LoRA: give adapters.teacher.path, "
                "or adapters.teacher=null where the network itself teaches"
            )

    def on(self, network: Backbone, role: str) -> Backbone:
        """A role's network: the one that it begins with, or its adapter on that.

        Args:
            network: that it begins with.
            role: student, critic or teacher.

        Raises:
            ValueError: the adapter does not go on it.
        """
        adapter: Adapter | None = getattr(self, role)
        if adapter is None:
            return network
        adapted = adapter.on(network, role)
        return adapted.requires_grad_(False) if role == "teacher" else adapted

    def check_alone(self) -> None:
        """Refuse adapters of others where a student alone is trained.

        Raises:
            ValueError: if there are some.
        """
        if self.critic is not None or self.teacher is not None:
            raise ValueError("this module trains a student alone; give adapters=student")


WHOLE = RoleAdapters()
"""Every role is a network of its own."""
