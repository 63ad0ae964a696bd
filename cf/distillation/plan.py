"""The objectives of a distillation, checked against how its student is rolled out."""

from cf.objectives.base import Objective
from cf.objectives.forcing import PretrainLoss
from cf.objectives.plan import Part, Plan
from cf.rollout.blockwise import Rollout


def plan_of(
    objective: Objective | Plan | PretrainLoss, rollout: Rollout, real_share: float
) -> Plan:
    """The plan that is given, or one of the single objective that is.

    Raises:
        ValueError: if none of it trains a student, or it does not go with the rollout
            or the share of real video.
    """
    if isinstance(objective, Objective):
        objective = Plan([Part(objective)])
    if not isinstance(objective, Plan):
        raise ValueError(
            f"a student cannot be distilled by {type(objective).__name__}; give "
            f"objective=direct_forcing, dmd or forcing_then_dmd, or derive your class from "
            f"cf.objectives.base.Objective"
        )
    for cls in (type(part.objective) for part in objective.parts):
        if cls.needs_critic and cls.critic_loss is Objective.critic_loss:
            raise ValueError(
                f"{cls.__name__} says needs_critic and has no critic_loss; write it, or leave "
                f"needs_critic out"
            )
    if rollout.context_noise and any(part.objective.predicts for part in objective.parts):
        raise ValueError(
            f"the direct forcing loss compares predictions given clean frames; set "
            f"rollout.context_noise={rollout.context_noise} to 0, or give objective=dmd"
        )
    if real_share == 0 and any(part.objective.critic_takes_real for part in objective.parts):
        raise ValueError(
            "the objective tells real video from the student's: raise module.real_share from 0"
        )
    return objective
