"""What each memory costs against full attention and against the plain window, in one run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from table import Row, markdown, ratio, shown
from throughput import CONFIG_DIR, HERE, measure, memories

from cf.settings.command_line import command

PAGE = """# What a memory costs

Generated: the tables of the last run of

```
{command}
```

on {device}, {cores} cores of which each process used {threads}, {dtype}, torch {torch}, commit
{commit}, {date}. The rows are in `benchmarks/results/memory.jsonl`.

A block is everything that `Rollout.stream` does for it: noise, reading and rotating the context,
four denoising steps, the commit pass, the memory's update. Times are {timed_by}, as ratios within a
round against the plain window `{window}` and against `{full}` at the same block: median (least to
greatest) of the rounds. Milliseconds are medians of the same; they depend on what else the machine
does, the ratios hardly. Bytes are exact: of what is held between blocks, and the most that is alive
during one. Weights are random.
"""


@command("memory", str(HERE), "benchmarks/memory.py")
def main(cfg: DictConfig) -> None:
    """Measure, append the rows, write the page."""
    folder = HERE / "results" if cfg.folder is None else Path(cfg.folder)
    docs = HERE.parent / "docs" if cfg.docs is None else Path(cfg.docs)
    sizes = {str(name): race(cfg, list(given)) for name, given in cfg.sizes.items()}
    for path in (folder, docs):
        path.mkdir(parents=True, exist_ok=True)
    with (folder / "memory.jsonl").open("a") as file:
        for size, rows in sizes.items():
            named = ({"size": size, **row} for row in rows)
            file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in named)
    given = [
        one for one in HydraConfig.get().overrides.task if not one.startswith(("folder=", "docs="))
    ]
    text = page(sizes, cfg, ["python", "benchmarks/memory.py", *given])
    (docs / "memory-costs.md").write_text(text)
    sys.stdout.write("\n" + text)


def race(cfg: DictConfig, size: Sequence[str]) -> list[Row]:
    """One row for each memory; of the references, that of the first team."""
    references = list(cfg.references)
    if len(references) != 2 or cfg.team < 1:
        raise ValueError(
            f"references must name the window and full attention and team be at least 1, got "
            f"{references}, {cfg.team}"
        )
    others = [name for name in memories(cfg) if name not in references]
    rows: dict[str, Row] = {}
    for start in range(0, len(others), cfg.team) or [0]:
        team = [*references, *others[start : start + cfg.team]]
        given = [f"repeats={cfg.repeats}", "reach=fill", "train=null", *size]
        chosen = hydra.compose("throughput", [SEARCH, *given, f"memories=[{','.join(team)}]"])
        measured = {row["memory"]: row for row in measure(chosen)}
        for name, row in measured.items():
            against = {f"to_{one}": ratio(row, measured[one]) for one in references}
            rows.setdefault(name, row | against)
    return list(rows.values())


def page(sizes: dict[str, list[Row]], cfg: DictConfig, command: Sequence[str]) -> str:
    """The tables of one run, as markdown."""
    first, (window, full) = next(iter(sizes.values()))[0], list(cfg.references)
    about = {key: first[key] for key in ("device", "cores", "threads", "dtype", "torch", "date")}
    about["commit"] = str(first["commit"])[:12] + (" (changed)" if first["dirty"] else "")
    about["timed_by"] = first["timed_by"].replace("_", " ")
    lines = [PAGE.format(command=" ".join(command), window=window, full=full, **about)]
    for size, rows in sizes.items():
        model, block = rows[0]["config"]["model"], rows[0]["block"]
        lines += [
            f"## {size}",
            "",
            f"Width {model['dim']}, {model['num_layers']} layers, latents of "
            f"{' x '.join(map(str, model['latent_shape']))}, block {block} of a stream.",
            "",
            *_table(rows, window, full),
        ]
    return "\n".join(lines)


def _table(rows: Sequence[Row], window: str, full: str) -> list[str]:
    head = ["frames attended", f"time / {window}", f"time / {full}", "ms a block"]
    head += ["context, MiB", f"context / {full}", "peak, MiB"]
    whole = next(row for row in rows if row["memory"] == full)
    cells = []
    for row in sorted(rows, key=lambda one: one["memory"]):
        if "skipped" in row:
            cells.append([row["memory"], row["skipped"], *["-"] * (len(head) - 1)])
            continue
        held = row["context_bytes"] / whole["context_bytes"] if "context_bytes" in whole else None
        cells.append(
            [
                row["memory"],
                f"{row['attended_frames']:.4g}",
                shown(row[f"to_{window}"]),
                shown(row[f"to_{full}"]),
                f"{1000 * row[row['timed_by']]['median']:.0f}",
                f"{row['context_bytes'] / 2**20:.2f}",
                "-" if held is None else f"{held:.3f}",
                f"{row['peak_bytes'] / 2**20:.1f}",
            ]
        )
    return markdown(head, cells)


SEARCH = f'hydra.searchpath=["file://{CONFIG_DIR}"]'
"""Where the groups of throughput.yaml are."""

if __name__ == "__main__":
    main()
