"""What is said of a released student's settings before anything of it is loaded."""

from __future__ import annotations

from cf.settings.build import Settings

_SAID = ("prompt", "prompts", "prompts_file")
"""Settings of `cf.generate` that hold a text."""


def lacking(given: Settings) -> str:
    """All files that a preset reads and that are not there, with what gets them; empty: none.

    A plan reads none of them: it may be made before the download.
    """
    from cf.models.releases import missing, needs

    return missing(needs(given)) if given.get("source") and not given.get("plan") else ""


def unsaid(given: Settings) -> str:
    """That a preset was given no text, in words; empty if it was, or takes none."""
    text = str((given.get("text") or {}).get("_target_", "NoText"))
    if not given["source"] or text.endswith("NoText") or any(given.get(name) for name in _SAID):
        return ""
    return 'this network makes what a text says: give prompt="..."; it was trained on long ones'
