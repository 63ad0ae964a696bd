"""A frozen teacher as a score network, and whether it can judge what a student makes."""

from collections.abc import Callable
from dataclasses import replace

from cf.models.base import Backbone
from cf.models.guided import check_guidance_times
from cf.objectives.score import ScoreNetwork


def guided_teacher(
    score: Callable[[Backbone], ScoreNetwork],
    teacher: Backbone,
    guide: ScoreNetwork | None,
    has_text: bool,
) -> ScoreNetwork:
    """The teacher as it sees the past, led away from whatever it is guided by.

    Args:
        score: makes it of the network.
        teacher: the network.
        guide: a weaker network with its view of the past; None: text guides, if anything does.
        has_text: whether prompts are encoded.

    Raises:
        ValueError: guidance without anything to lead away from, a guide without guidance, or one of
            other latents or another conditioning.
    """
    scorer = score(teacher)
    times = check_guidance_times(scorer.guidance_times, "score.guidance_times")
    scorer = replace(scorer, guide=guide, guidance_times=times)
    if guide is None and scorer.guidance != 1 and not has_text:
        raise ValueError(
            "score.guidance needs text to lead away from; set it to 1 without text, or give a "
            "weaker network: guide=previous_block start.guide.path=..."
        )
    if guide is not None:
        if scorer.guidance == 1:
            raise ValueError(
                "guide=... leads the teacher away from a weaker network by score.guidance, which "
                "is 1 (none); give score.guidance=2, or guide=null"
            )
        check_teacher(teacher, guide.network, ("guide", "teacher", "start.guide.path"))
    return scorer


def check_teacher(
    student: Backbone,
    teacher: Backbone,
    names: tuple[str, str, str] = ("teacher", "student", "teacher"),
) -> None:
    """Refuse a teacher that cannot judge what the student makes; its size is its own affair.

    Args:
        student: makes the videos.
        teacher: is shown them.
        names: what the message calls the teacher, the student and the teacher's setting.

    Raises:
        ValueError: if it takes other latents or another conditioning.
    """
    for what, theirs, ours in (
        ("latent channels", teacher.latent_shape[0], student.latent_shape[0]),
        *(
            (name, getattr(teacher, name, None), getattr(student, name, None))
            for name in ("text_dim", "control_dim", "image_dim", "reference_channels")
        ),
    ):
        if theirs != ours:
            raise ValueError(
                f"the {names[0]}'s {what} is {theirs} and the {names[1]}'s {ours}, but both are "
                f"shown the same; choose another {names[2]}=... or model=..."
            )
