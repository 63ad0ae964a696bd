"""Letters and edges of the pages stand out from what is behind them, in light and in dark.

WCAG 2.1, level AA: 4.5 for text (1.4.3), 3 for what tells a control or a curve (1.4.11).
"""

import re
from pathlib import Path

import pytest

import cf

PLAY = Path(cf.__file__).parent / "playing" / "assets" / "play.css"
REPORT = Path(cf.__file__).parent / "report" / "assets" / "report.css"
TEXT = {
    PLAY: (
        *[(text, under) for text in ("ink", "soft", "accent") for under in ("paper", "raised")],
        *[(text, "paper") for text in ("one", "two", "truth", "warn")],
        *[("on-accent", "accent"), ("ink", "warn-paper")],
    ),
    REPORT: (
        *[(text, "paper") for text in ("ink", "soft", "accent", "warn", "lead")],
        *[("on", "accent"), ("ink", "field"), ("ink", "note"), ("ink", "code"), ("warn", "chip")],
    ),
}
PARTS = {
    PLAY: (("edge", "paper"), ("edge", "raised"), ("one", "paper"), ("two", "paper")),
    REPORT: (("edge", "paper"), ("edge", "field")),
}


def colours(page: Path) -> list[dict[str, str]]:
    """Those that a page names: in light, and in dark."""
    found = re.findall(r":root \{([^}]*)\}", page.read_text())
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", one)) for one in found[:2])
    return [light, {**light, **dark}]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("page", [PLAY, REPORT], ids=["play", "report"])
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_is_read_stands_out(page: Path, scheme: int) -> None:
    named = colours(page)[scheme]
    for least, pairs in ((4.5, TEXT[page]), (3.0, PARTS[page])):
        for one, under in pairs:
            found = contrast(named[one], named[under])
            assert found >= least, f"{one} on {under}: {found:.2f}, wanted {least}"
