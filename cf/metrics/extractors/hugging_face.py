"""Networks of `transformers`, filled with the tensors of a published file and with nothing else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def transformers() -> Any:
    """The library, imported where it is needed first: it takes seconds.

    Raises:
        ImportError: if it is not installed; says how to install it.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise ImportError(
            "DINO, CLIP and MiniLM need transformers: pip install -e '.[features]' "
            "(or pip install 'transformers>=5')"
        ) from error
    return library


def frozen_network(
    kind: str, config: Any, state: Mapping[str, Tensor], whose: str, **settings: Any
) -> nn.Module:
    """A frozen network of that class with those weights, all of them and no others.

    Nothing is looked for on disk or in the network.

    Args:
        kind: a class of `transformers`.
        config: of that class.
        state: tensors under the names of the layout that Hugging Face publishes.
        whose: weights these are, for the message.
        settings: of the class's constructor.

    Raises:
        ValueError: if names or shapes are not those of the network.
    """
    with _quiet():
        network, report = getattr(transformers(), kind).from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, by name
            **settings,
        )
    faults = (("missing", "lack"), ("unexpected", "have no place for"), ("mismatched", "differ in"))
    wrong = [
        f"they {verb} {', '.join(sorted(map(str, report[f'{fault}_keys']))[:3])}"
        for fault, verb in faults
        if report[f"{fault}_keys"]
    ]
    if wrong:
        raise ValueError(f"these are not the weights of {whose}: {'; '.join(wrong)}")
    frozen: nn.Module = network.eval().requires_grad_(False)
    return frozen


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar and no report on standard error: what is wrong is raised."""
    logging = transformers().utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
