"""Texts of a benchmark, encoded once for all contestants before the first of them begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing

from cf.bench.contestants.entries import Entry
from cf.bench.contestants.network import Network
from cf.bench.places import Places
from cf.bench.tasks.base import Sample
from cf.files.counts import so_many
from cf.runs.texts import CachedText
from cf.system.processes import Died, spread

log = logging.getLogger("cf.benchmark")
_Task = tuple[CachedText, list[str]]


def encode_texts(entered: Sequence[Entry], items: Sequence[Sample], places: Places) -> None:
    """Have the states of all texts in the user's cache, where every process finds them.

    Encoders run one after the other in a process of their own, which takes their memory with it,
    so that no process that generates holds one. Texts that are there already are left out.

    Args:
        entered: contestants, which say what encodes their texts.
        items: videos to be made, whose texts are encoded.
        places: where videos are generated; the first device encodes, in this process if there are
            no workers.

    Raises:
        ValueError: an encoder cannot be read, or its process died.
    """
    texts = list(
        dict.fromkeys(text for item in items if item.world is None for _, text in item.script)
    )
    device = places.devices[0]
    tasks: dict[str, _Task] = {}
    for entry in entered:
        if not texts or entry.missing or not isinstance(entry.contestant, Network):
            continue
        try:
            encoder = entry.contestant.encoder(device)
        except ValueError as error:
            raise ValueError(f"{entry.label}: {error}") from error
        if encoder is None:
            continue
        lacking = encoder.lacking([*texts, *entry.contestant.negative()])
        _, to_encode = tasks.setdefault(encoder.key, (encoder, []))
        to_encode += [text for text in lacking if text not in to_encode]
    todo = [task for task in tasks.values() if task[1]]
    for encoder, lacking in todo:
        log.info(
            "encoding %s on %s; kept in %s",
            so_many(len(lacking), "text"),
            device,
            encoder.cache.folder,
        )
    if places.workers == 0:
        for task in todo:
            _encode(task)
        return
    with closing(spread(_encode, todo, 1)) as results:
        for _, fate in results:
            if isinstance(fate, Died):
                raise ValueError(
                    f"the process that encodes texts died three times ({fate.reason}); "
                    "devices=cpu encodes them in the computer's memory"
                )


def _encode(task: _Task) -> None:
    encoder, texts = task
    for text in texts:  # one by one: what is done is kept
        try:
            encoder.keep(text)
        except ValueError as error:  # too long, as a rule
            raise ValueError(f"{error} (of a contestant: contestants.NAME.text...)") from error
    encoder.release()
