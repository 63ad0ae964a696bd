"""A training's network makes pictures of the size that its data have."""

from __future__ import annotations

import logging

from omegaconf import DictConfig, OmegaConf

from cf.settings.build import to_settings

log = logging.getLogger("cf.fit")


def fit_to_pictures(cfg: DictConfig) -> None:
    """Let `model.latent_shape` be that of `data.size`, wherever settings refer to it.

    Data without a size (prompts) leave the model's own; a codec that is trained has no network.

    Args:
        cfg: settings of `cf.fit`, not resolved yet.

    Raises:
        ValueError: the sides do not divide into latents and tokens; names the nearest that do. Or
            the codec has other channels than the network.
    """
    from cf.runs.outline import codec_outline, sized

    size, shape = cfg.data.get("size"), cfg.model.get("latent_shape")
    if not size or not shape or "codec" not in cfg.module:
        return
    codec = codec_outline(to_settings(cfg.codec), {})
    latent_shape = sized(to_settings(cfg.model), size, codec, "data.size")["latent_shape"]
    if latent_shape != list(shape):
        OmegaConf.update(cfg, "model.latent_shape", latent_shape)
        text = str(latent_shape).replace(" ", "")
        log.info("pictures of %d x %d, as the data have: model.latent_shape=%s", *size, text)
