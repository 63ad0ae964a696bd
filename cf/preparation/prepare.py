"""A preparation: what is missing of the folder is made, by as many processes as are asked for."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cf import __version__
from cf.data.shard_index import INDEX, Shard, ShardIndex
from cf.data.sources import listing
from cf.files.atomic import write_text
from cf.files.counts import so_many
from cf.files.text import read_json_file
from cf.preparation.maker import ShardMaker, begin, make, receipt_of
from cf.preparation.planned import PlannedFile, PreparationPlan, plan_preparation
from cf.settings.build import Settings
from cf.system.processes import Died, spread
from cf.system.progress import progress

log = logging.getLogger("cf.prepare")
PLAN = "plan.json"


def prepare(settings: Settings, folder: Path) -> ShardIndex:
    """Make what is missing of a folder, and then its index.

    Args:
        settings: of `cf.prepare`.
        folder: to write into.

    Raises:
        ValueError: the folder holds another preparation, or nothing can be prepared.
    """
    plan = plan_preparation(settings)
    _claim(folder, plan)
    log.info(
        "%s and %s in %s",
        so_many(plan.count("latents"), "clip"),
        so_many(plan.count("texts"), "text"),
        so_many(len(plan.files), "file"),
    )
    receipts = {file.name: receipt_of(folder, file.name, settings["verify"]) for file in plan.files}
    missing = [file for file in plan.files if receipts[file.name] is None]
    if len(missing) < len(plan.files):
        log.info(
            "%d of %d files are there and kept", len(plan.files) - len(missing), len(plan.files)
        )
    if missing:
        (folder / INDEX).unlink(missing_ok=True)
    receipts |= _made(settings, folder, missing)
    index = _index(settings, plan, {name: receipt for name, receipt in receipts.items() if receipt})
    write_text(folder / INDEX, index.written())
    if index.left_out:
        count = len(index.left_out)
        log.warning("%d left out or used only in part:\n%s", count, listing(index.left_out))
    return index


def finished_files(folder: Path) -> str:
    """How many files are finished."""
    files = [file for file in folder.glob("*-*.json") if file.stem.split("-")[-1].isdigit()]
    return f"{so_many(len(files), 'file')} made and kept"


def _claim(folder: Path, plan: PreparationPlan) -> None:
    """Note which preparation the folder holds.

    Raises:
        ValueError: it holds another.
    """
    path = folder / PLAN
    ours = json.loads(json.dumps(plan.identity))
    if not path.exists():
        write_text(path, json.dumps(ours, indent=1, ensure_ascii=False) + "\n")
        return
    theirs = read_json_file(path, "plan of a preparation")
    if theirs != ours:
        saved = theirs if isinstance(theirs, dict) else {}
        differ = [name for name in ours if saved.get(name) != ours[name]]
        raise ValueError(
            f"{folder} holds a preparation that differs in {', '.join(differ)}; give another "
            "folder (hydra.run.dir=...), or delete it"
        )


def _made(settings: Settings, folder: Path, missing: list[PlannedFile]) -> dict[str, Any]:
    """Receipts of the files that were missing, once they are made."""
    devices = _devices(settings["device"])
    workers = min(settings["workers"] or len(devices), max(len(missing), 1))
    results: Iterable[tuple[PlannedFile, dict[str, Any] | Died]]
    if workers == 1:
        maker = ShardMaker(settings, folder, devices[0])
        results = ((file, maker.make(file)) for file in missing)
    else:
        threads = max((os.cpu_count() or 1) // workers, 1)
        results = spread(make, missing, workers, partial(begin, settings, folder, devices, threads))
    receipts: dict[str, Any] = {}
    with progress(len(missing), "preparing", "files", disable=not missing) as bar:
        for file, result in results:
            if isinstance(result, Died):
                raise ValueError(
                    f"{file.name} could not be made ({result.reason}); give fewer workers=... and "
                    "the same command again: what is finished is kept"
                )
            receipts[file.name] = result
            bar.update(1)
    return receipts


def _devices(name: str) -> list[str]:
    """Those that processes are spread over."""
    if name == "auto" and torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["cpu" if name == "auto" else name]


def _index(settings: Settings, plan: PreparationPlan, receipts: dict[str, Any]) -> ShardIndex:
    """The index of a folder that is whole.

    Raises:
        ValueError: weights were exchanged meanwhile, or not one clip could be read.
    """
    shards: dict[str, tuple[Shard, ...]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    hashes: dict[str, str] = {}
    left_out, stride = dict(plan.left_out), 1
    for kind in ("latents", "texts"):
        said = [receipts[file.name] for file in plan.files if file.kind == kind]
        made_by = {receipt["weights"] for receipt in said}
        if len(made_by) > 1:
            raise ValueError(
                f"the weights that made the {kind} were exchanged meanwhile; prepare anew, in "
                "another folder"
            )
        hashes[kind] = next(iter(made_by), "")
        shapes[kind] = next((tuple(receipt["shape"]) for receipt in said if receipt["count"]), ())
        shards[kind] = tuple(_shard(receipt) for receipt in said)
        for receipt in said:
            left_out |= receipt["left_out"]
            stride = receipt.get("time_stride", stride)
    if plan.count("latents") and not shapes["latents"]:
        raise ValueError(f"not one clip could be read:\n{listing(left_out)}")
    names = ("codec", "text", "clip_frames", "stride", "fps", "size", "cuts", "dtype", "videos")
    record = {
        **{name: settings[name] for name in (*names, "prompts_file", "negative_prompt")},
        "time_stride": stride,
        "pictures": settings["pictures"],
        "pictures_fps": settings["pictures_fps"],
        "prompts": plan.prompts,
        "codec_sha256": hashes["latents"],
        "text_sha256": hashes["texts"],
        "versions": {"context-forcing": __version__, "torch": torch.__version__},
    }
    if settings["cuts"] == "split" and plan.count("latents"):
        from cf.video.cuts import cut_weights_hash

        record["cuts_sha256"] = cut_weights_hash()
    return ShardIndex(
        shards["latents"], shards["texts"], shapes["latents"], shapes["texts"], record, left_out
    )


def _shard(said: dict[str, Any]) -> Shard:
    sources = tuple((name, int(count)) for name, count in said["sources"])
    return Shard(said["file"], said["count"], said["size"], said["sha256"], sources)
