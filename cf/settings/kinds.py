"""The kinds of values that settings have."""

from pathlib import Path
from typing import Annotated, Literal

from cf.settings.hints import Form, Within

Seed = Annotated[int, Within(0, 2**63 - 1)]
Count = Annotated[int, Within(1, 2**31)]
CountOrZero = Annotated[int, Within(0, 2**31)]
Seconds = Annotated[float, Within(above=0, most=1e6)]
Rate = Annotated[float, Within(above=0, most=1000)]
_Side = Annotated[int, Within(1, 16384)]
Size = Annotated[
    tuple[_Side, _Side], Form("height and width in pixels, 1 to 16384, as in [480,832]")
]
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Compile = Literal["none", "blocks", "graphs"]
FilePath = Annotated[Path, "file"]
FolderPath = Annotated[Path, "folder"]
FileOrFolder = Annotated[Path, "file or folder"]
OutputPath = Annotated[Path, "written"]
Paths = Path | list[Path]


class Device(str):
    """auto, cpu, cuda, or cuda:1; told of what this machine has."""

    WANTED = "auto, cpu, cuda or one of several, as in cuda:1"
