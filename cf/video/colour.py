"""HDR and wide gamuts as pictures of BT.709 in SDR, one picture at a time, by BT.2100 and BT.2390.

The light that the standard's display shows (PQ: its EOTF; HLG: its inverse OETF and the OOTF of a
display of 1,000 cd/m2) is divided by that of SDR white, 203 cd/m2 (BT.2408), so that skin, grass
and grey cards keep the level that they have in SDR. Highlights up to 1,000 cd/m2 are compressed by
the EETF of BT.2390, for each colour by itself, from 88 cd/m2 on: diffuse white is 230 of 255. Then
come the primaries of BT.709, clipped, and the inverse of BT.1886 (a power of 2.4). The curve is the
same for every file, whatever its metadata say, so that no picture depends on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc
from jaxtyping import Float, UInt8, UInt16

SDR_WHITE = 203.0
"""cd/m2 of diffuse white in HDR (BT.2408), which is white in SDR."""
PEAK = 1000.0
"""cd/m2 that become white; brighter ones are white as well. Of HLG the nominal peak (BT.2100)."""
CODES = "gbrp12le"
"""FFmpeg's format of the pictures that are converted: planes of 12 bits."""
_MOST = 4095
_PIXELS = 2**15
"""Converted at once, so that they stay in a core's cache."""
_GAMMA = 2.4
_HLG_GAMMA = 1.2

Transfer = Literal["PQ", "HLG", "SDR"]
_TRANSFERS: dict[int, Transfer] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_SDR = {
    ColorTrc.BT709,
    ColorTrc.UNSPECIFIED,
    ColorTrc.SMPTE170M,
    ColorTrc.IEC61966_2_1,
    ColorTrc.BT2020_10,
    ColorTrc.BT2020_12,
}
_CHROMATICITIES = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
"""x and y of red, green and blue; white is that of all three, D65."""
_WHITE = (0.3127, 0.3290)


@dataclass(frozen=True)
class ColourCoding:
    """How a frame's colours are coded, where it is not SDR of BT.709.

    Attributes:
        transfer: the curve from code to light.
        primaries: FFmpeg's number of red, green and blue.
        white: what a code of 1 is in `CODES`.
    """

    transfer: Transfer
    primaries: int
    white: int

    @property
    def kind(self) -> str:
        """What footage of these colours is called."""
        return "wide gamut" if self.transfer == "SDR" else "HDR"


def coding_of(frame: VideoFrame) -> ColourCoding | None:
    """How a frame's colours are coded, by its own tags; None: they are shown as they are.

    HDR without tagged primaries has those of BT.2020. In SDR only wider primaries than those of
    BT.709 count: the three of television differ by less than what a viewer's screen does.

    Args:
        frame: decoded.
    """
    primaries = int(frame.color_primaries)
    transfer, bits = _TRANSFERS.get(frame.color_trc), frame.format.components[0].bits
    # FFmpeg's scaler makes white of YUV 255 / 256 of what there is, and shifts the bits of RGB.
    white = (2**bits - 1) << max(12 - bits, 0) >> max(bits - 12, 0) if frame.format.is_rgb else 4080
    if transfer is not None:
        tagged = primaries in _CHROMATICITIES
        return ColourCoding(transfer, primaries if tagged else int(ColorPrimaries.BT2020), white)
    wide = primaries in _CHROMATICITIES and primaries != ColorPrimaries.BT709
    return ColourCoding("SDR", primaries, white) if wide and frame.color_trc in _SDR else None


def as_sdr(
    codes: Sequence[UInt16[np.ndarray, "h w"]], colours: ColourCoding
) -> UInt8[np.ndarray, "3 h w"]:
    """A picture as BT.709 in SDR, in bytes, 0 to 255.

    Args:
        codes: planes of red, green and blue as FFmpeg makes them in `CODES`.
        colours: what they mean.
    """
    height, width = codes[0].shape
    picture = np.empty((3, height, width), np.uint8)
    rows = max(1, _PIXELS // width)
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        light = _light(np.stack([plane[part] for plane in codes]), colours)
        for plane, weights in zip(picture[:, part], to_bt709(colours.primaries), strict=True):
            _encoding().take(_steps(_mixed(weights, light)), mode="clip", out=plane)
    return picture


def _light(codes: UInt16[np.ndarray, "3 h w"], colours: ColourCoding) -> Float[np.ndarray, "3 h w"]:
    """Light of the SDR display, in parts of its white, in the primaries of the source."""
    light = _decoding(colours.transfer, colours.white).take(codes, mode="clip")
    if colours.transfer == "HLG":
        luminance = _mixed(_luma(colours.primaries), light)
        shown = light * _ootf().take(_steps(luminance), mode="clip")
        return _compression().take(_steps(shown), mode="clip")
    return light


def _mixed(
    weights: Float[np.ndarray, " 3"], light: Float[np.ndarray, "3 h w"]
) -> Float[np.ndarray, "h w"]:
    """A weighted sum, in an order that does not depend on the machine."""
    red, green, blue = weights
    return np.asarray(red * light[0] + green * light[1] + blue * light[2])


def _steps(light: Float[np.ndarray, "*s"]) -> UInt16[np.ndarray, "*s"]:
    """Where light in [0, 1] stands in a table whose steps are equal in its square root."""
    steps = np.sqrt(np.clip(light, 0, 1))
    steps *= np.float32(_MOST)
    steps += np.float32(0.5)
    return np.asarray(steps, np.uint16)


@cache
def _decoding(transfer: Transfer, white: int) -> Float[np.ndarray, " n"]:
    """Of each code its light: of PQ and SDR that of the SDR display, of HLG that of the scene."""
    codes = np.minimum(np.arange(_MOST + 1) / white, 1)
    if transfer == "HLG":
        return hlg_scene(codes).astype(np.float32)
    light = compressed(pq_light(codes)) if transfer == "PQ" else codes**_GAMMA
    return np.asarray(light, np.float32)


@cache
def _ootf() -> Float[np.ndarray, " n"]:
    """The factor of each luminance of an HLG scene."""
    return (np.linspace(0, 1, _MOST + 1) ** (2 * (_HLG_GAMMA - 1))).astype(np.float32)


@cache
def _compression() -> Float[np.ndarray, " n"]:
    """Light of the SDR display by that of the HDR display in parts of `PEAK`."""
    return compressed(PEAK * np.linspace(0, 1, _MOST + 1) ** 2).astype(np.float32)


@cache
def _encoding() -> UInt8[np.ndarray, " n"]:
    """Bytes by light of the SDR display."""
    return np.rint(255 * np.linspace(0, 1, _MOST + 1) ** (2 / _GAMMA)).astype(np.uint8)


def pq_light(code: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The EOTF of PQ (SMPTE ST 2084, BT.2100): cd/m2 of a code in [0, 1]."""
    power = np.asarray(code) ** (32 / 2523)
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    return np.asarray(10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (16384 / 2610))


def pq_code(light: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The inverse of `pq_light`: the code in [0, 1] of so many cd/m2."""
    power = (np.asarray(light) / 10000) ** (2610 / 16384)
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** (2523 / 32))


def hlg_scene(code: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The inverse OETF of HLG (BT.2100): light of the scene in [0, 1] of a code in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.asarray(code)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def compressed(light: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """The EETF of BT.2390 from `PEAK` to `SDR_WHITE`, in parts of the latter.

    Args:
        light: in cd/m2.
    """
    source = pq_code(np.asarray(PEAK))
    most = pq_code(np.asarray(SDR_WHITE)) / source
    code = np.minimum(pq_code(light) / source, 1)
    knee = 1.5 * most - 0.5
    t = np.maximum(code - knee, 0) / (1 - knee)
    shoulder = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * most
    )
    return pq_light(np.where(code < knee, code, shoulder) * source) / SDR_WHITE


def _to_xyz(primaries: int) -> Float[np.ndarray, "3 3"]:
    """From linear red, green and blue to CIE XYZ, white having a Y of 1."""

    def xyz(x: float, y: float) -> tuple[float, float, float]:
        return x / y, 1.0, (1 - x - y) / y

    columns = np.array([xyz(*xy) for xy in _CHROMATICITIES[ColorPrimaries(primaries)]]).T
    return np.asarray(columns * np.linalg.solve(columns, np.array(xyz(*_WHITE))))


@cache
def to_bt709(primaries: int) -> Float[np.ndarray, "3 3"]:
    """From linear red, green and blue of some primaries to those of BT.709."""
    source, target = _to_xyz(primaries), _to_xyz(ColorPrimaries.BT709)
    return np.asarray(np.linalg.solve(target, source), np.float32)


@cache
def _luma(primaries: int) -> Float[np.ndarray, " 3"]:
    """Shares of red, green and blue in luminance."""
    return np.asarray(_to_xyz(primaries)[1], np.float32)
