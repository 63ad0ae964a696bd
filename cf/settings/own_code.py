"""Where a class of the user's own failed, beside the one line that a command says."""

import sysconfig
import traceback
from pathlib import Path

_CF = f"{Path(__file__).parents[1]}/"
_CATCHES = "exit_on_user_error"
"""It stands above whoever called, which may be a script or a test."""
_LIBRARIES = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib", "platlib")})


def failing_line(error: BaseException) -> str:
    """File, line and function of one's own class that an error comes from; else empty.

    An error that such a class raises on purpose tells itself what is wrong, so it needs none.

    Args:
        error: as a command met it.
    """
    met = (error, error.__cause__)  # what Hydra makes of an error names it as its cause
    frames = [
        one for part in met if part is not None for one in traceback.walk_tb(part.__traceback__)
    ]
    codes = [frame.f_code for frame, _ in frames]
    files = [code.co_filename for code in codes]
    begun = (i for i, code in enumerate(codes) if code.co_name != _CATCHES)
    first = next((i for i in begun if files[i].startswith(_CF)), len(files))
    own = [i for i in range(first, len(files)) if _is_own(files[i])]
    if not own:
        return ""
    frame, line = frames[own[-1]]
    summary = traceback.FrameSummary(files[own[-1]], line, frame.f_code.co_name)
    if own[-1] == len(files) - 1 and (summary.line or "").startswith("raise "):
        return ""
    return f" ({files[own[-1]]}, line {line}, in {summary.name}; HYDRA_FULL_ERROR=1 shows the rest)"


def _is_own(file: str) -> bool:
    return not file.startswith(("<", _CF, *_LIBRARIES))
