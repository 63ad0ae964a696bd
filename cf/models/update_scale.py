"""By how much a low-rank update counts: what its file, or PEFT's settings beside it, say."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cf.models.stored import CheckpointError, Stored
from cf.models.weight_files import read_json

_HEADERS = ("lora_adapter_metadata", "peft_config", "adapter_config", "lora_config", "config")
_ALPHAS = ("lora_alpha", "alpha", "network_alpha", "ss_network_alpha")
_NOTHING = ("none", "null", "")
_LEAVES_BASE = ("", "none", "true", "false", "gaussian", "eva", "orthogonal")
_OTHER_SUMS = ("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config")
_LONGEST, _MOST_REPEATS = 200, 3


@dataclass(frozen=True)
class Scale:
    """Of every update of a file: alpha / rank, or alpha / sqrt(rank) where it is stabilised.

    Attributes:
        source: the file, for messages.
        given: alpha as the user gives it, which outweighs what the file says.
        alpha: for all modules; None: each update's rank, so that its scale is 1.
        alphas, ranks: patterns of modules' names with their own values, as in PEFT.
        rank: what the settings say of it, which the factors must have; None where they do not.
        stabilised: rank-stabilised (https://arxiv.org/abs/2312.03732).
        with_norms: every update has the norms of DoRA.
    """

    source: Path
    given: float | None = None
    alpha: float | None = None
    rank: float | None = None
    stabilised: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, float] = field(default_factory=dict)
    with_norms: bool = False

    def of(self, names: Sequence[str], rank: int, told: Tensor | None) -> float:
        """Of one module.

        Args:
            names: how the module may be called, for the patterns.
            rank: of its factors.
            told: its own alpha, where the file has one.

        Raises:
            CheckpointError: if the settings are those of another file.
        """
        wanted = self._matching(self.ranks, names, self.rank)
        if wanted is not None and wanted != rank:
            raise CheckpointError(
                f"{self.source} updates {names[0]} by factors of rank {rank}, but the settings "
                f"with it say r={wanted:g}; put the adapter_config.json of this file beside it"
            )
        alpha = self._matching(self.alphas, names, self.alpha)
        if told is not None:
            alpha = float(told.float().flatten()[0]) if told.numel() == 1 else math.nan
        if self.given is not None:
            alpha = self.given
        if alpha is None:
            return 1.0
        if not math.isfinite(alpha) or alpha == 0:  # nothing would be added
            raise CheckpointError(
                f"{self.source} says alpha={alpha:g} of {names[0]}; give weights.lora_alpha=..."
            )
        return alpha / (math.sqrt(rank) if self.stabilised else rank)

    def _matching(
        self, patterns: Mapping[str, float], names: Sequence[str], default: float | None
    ) -> float | None:
        for pattern, value in patterns.items():
            lead = "" if pattern.startswith("^") else r"(?:.*\.)?"
            if any(re.fullmatch(f"{lead}(?:{pattern})", name) for name in names):
                return value
        return default


def scale_of(stored: Stored, given: float | None) -> Scale:
    """What a file of updates and PEFT's settings beside it say.

    Raises:
        CheckpointError: if they describe an update that is no plain LoRA, or are damaged.
    """
    beside = adapter_config(stored.file)
    config = None if beside is None else read_json(beside)
    if beside is not None and not isinstance(config, dict):
        raise CheckpointError(f"{beside} is damaged; copy it again")
    config = config or _in_header(stored.said)
    if config:
        _refuse_other_methods(config, beside or stored.file)
        return _of_peft(config, stored.file, given)
    told = (stored.said.get(name) for name in _ALPHAS)
    alpha = next((one for one in told if str(one).strip().lower() not in _NOTHING), None)
    return Scale(
        stored.file,
        given,
        None if alpha is None else _number(alpha),
        stabilised=_truth(stored.said.get("use_rslora")),
    )


def adapter_config(file: Path) -> Path | None:
    """PEFT's settings in a folder, or beside the file that they are of.

    PEFT gives the file that belongs to them a name; where that one is there, they say nothing of
    others beside it.
    """
    folder = file if file.is_dir() else file.parent
    config = folder / "adapter_config.json"
    owners = [folder / f"adapter_model{ending}" for ending in (".safetensors", ".bin")]
    of_another = file not in (folder, *owners) and any(one.is_file() for one in owners)
    return config if config.is_file() and not of_another else None


def _of_peft(config: Mapping[str, Any], file: Path, given: float | None) -> Scale:
    patterns = [config.get(name) or {} for name in ("alpha_pattern", "rank_pattern")]
    for one in patterns:
        if not isinstance(one, dict):
            raise CheckpointError(f"the settings with {file} say {one!r} as a pattern, not a map")
        for pattern in one:
            _check_pattern(pattern, file)
    alphas, ranks = ({k: _number(v) for k, v in one.items()} for one in patterns)
    alpha, rank = config.get("lora_alpha"), config.get("r")
    return Scale(
        file,
        given,
        _number(alpha) if "lora_alpha" in config else None,
        None if rank is None else _number(rank),
        _truth(config.get("use_rslora")),
        alphas,
        ranks,
        _truth(config.get("use_dora")),
    )


def _in_header(said: Mapping[str, Any]) -> dict[str, Any]:
    """PEFT's settings within a file; diffusers puts the network's name before each."""
    for name in (*_HEADERS, *said):
        value = said.get(name)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        if isinstance(value, dict):
            value = {str(key).removeprefix("transformer."): one for key, one in value.items()}
            if "lora_alpha" in value:
                return value
    return {}


def _refuse_other_methods(config: Mapping[str, Any], source: Path) -> None:
    kind = str(config.get("peft_type") or "LORA").rpartition(".")[2]
    start = str(config.get("init_lora_weights", "")).lower()
    other = next((name for name in _OTHER_SUMS if config.get(name)), None)
    if kind.upper() != "LORA":
        why = f"peft_type={kind}; merge it into the weights by PEFT, and give those"
    elif start not in _LEAVES_BASE:
        why = (
            f"init_lora_weights={start}, which changes the weights that are updated; save it by "
            "PEFT with path_initial_model_for_weight_conversion"
        )
    elif _truth(config.get("fan_in_fan_out")):
        why = "fan_in_fan_out=true, for weights that are stored transposed, as Wan's are not"
    elif config.get("layer_replication"):
        why = "layer_replication, which makes a deeper model; merge it by PEFT"
    elif other is not None:
        why = f"{other}={config[other]!r:.60}, which is no sum of B A; merge it by PEFT, if it can"
    else:
        return
    raise CheckpointError(f"{source} says {why}")


def _check_pattern(pattern: str, file: Path) -> None:
    """Refuse a pattern that takes for ever, since a stranger's file may hold any."""
    repeats = re.findall(r"[*+{?]", pattern)
    if (
        len(pattern) <= _LONGEST
        and len(repeats) <= _MOST_REPEATS
        and ")" not in re.findall(r"(.)[*+{]", pattern)
    ):
        try:
            re.compile(pattern)
            return
        except (re.error, RecursionError):
            pass
    raise CheckpointError(
        f"the settings with {file} hold the pattern {pattern[:_LONGEST]!r}, which is not read; "
        "name its modules in full, one each"
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _truth(value: Any) -> bool:
    return str(value).lower() in ("true", "1")
