"""The metrics that settings name, and why some of them are unavailable."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from cf.metrics.base import VideoMetric, groups
from cf.metrics.extractors.base import Extractor
from cf.settings.build import Settings, build, check


def metrics_of(
    settings: Mapping[str, Settings | None],
    texts: Mapping[int, str],
    known: Collection[str] | None = None,
    absent: tuple[type[Exception], ...] = (),
) -> tuple[dict[str, VideoMetric], dict[str, str]]:
    """Build metrics, by their names in the settings, and say why others are unavailable.

    Args:
        settings: of each metric; None leaves it out.
        texts: prompt_id -> text, for metrics whose own `texts` are null.
        known: what is known of each frame, "reference" and names of truths; metrics that need more
            are unavailable. None: everything.
        absent: errors that make a metric unavailable; others are raised.

    Raises:
        ValueError: if two metrics have one name.
    """
    metrics: dict[str, VideoMetric] = {}
    unavailable: dict[str, str] = {}
    for key, options in settings.items():
        if options is None:
            continue
        try:
            metric = _built(key, options, texts)
        except absent as error:
            unavailable[key] = str(error)
            continue
        needs = metric.measurement.needs
        lacking = [] if known is None else [need for need in needs if need not in known]
        if lacking:
            unavailable[metric.name] = f"needs {', '.join(lacking)}, which nobody knows here"
        else:
            metrics[key] = metric
    groups(metrics.values())
    return metrics, unavailable


def warn(log: logging.Logger, unavailable: Mapping[str, str]) -> None:
    """Log which metrics are not measured, and why."""
    for name, reason in unavailable.items():
        log.warning("%s is not measured: %s", name, reason)


def _built(key: str, options: Settings, texts: Mapping[int, str]) -> VideoMetric:
    more: dict[str, Any] = {}
    check(options, f"metrics.{key}")
    if isinstance(options.get("extractor"), dict):
        more["extractor"] = _extractor(json.dumps(options["extractor"], sort_keys=True))
    if "texts" in options and options["texts"] is None:
        more["texts"] = texts
    metric: VideoMetric = build(options, f"metrics.{key}", **more)
    return metric


@lru_cache(8)
def _extractor(settings: str) -> Extractor:
    """One for all metrics and videos of a process: weights are large, and it keeps no states."""
    extractor: Extractor = build(json.loads(settings), "extractor")
    return extractor


def forget_extractors() -> None:
    """Free the weights of extractors; other processes read their own."""
    _extractor.cache_clear()
