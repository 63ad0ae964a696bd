"""The roofline of generation: operations as they are by hand, and a row that is whole."""

import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import roofline

TINY = "model=tiny codec=pixels text=none rollout=few_steps memory=sliding fps=8 size=[16,16]"


@torch.inference_mode()
def test_operations_are_those_by_hand() -> None:
    x, weight = torch.rand(5, 7), torch.rand(3, 7)
    q, k = torch.rand(1, 2, 4, 8), torch.rand(1, 2, 9, 8)
    video, kernel = torch.rand(1, 2, 4, 4, 4), torch.rand(3, 2, 1, 2, 2)

    def run() -> None:
        F.linear(x, weight)
        F.scaled_dot_product_attention(q, k, k)
        F.conv3d(video, kernel)

    products, attention, convolutions = roofline.operations(run)
    assert products == 2 * 5 * 7 * 3
    assert attention == 2 * (2 * 2 * 4 * 9 * 8)
    assert convolutions == 2 * 3 * (4 * 3 * 3) * (2 * 2 * 2)


def test_a_row_says_all_of_its_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--warm", "1", "--blocks", "1", "--folder", str(tmp_path)]
    roofline.main(["--cases", TINY, *few, "--device", "cpu"])
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    seconds = [row[name] for name in ("first_frame", "denoise", "decode", "end_to_end")]
    assert min(seconds) > 0
    assert 0 < row["share"] < 2
    assert row["roofline"] == pytest.approx(row["share"] * row["denoise"])
    assert row["kernel"] == "flash_attention"
    table = (tmp_path / "roofline.md").read_text()
    assert "model=tiny codec=pixels" in table.splitlines()[-1]
    assert f"--cases '{TINY}'" in table  # as it can be typed again
    with pytest.raises(SystemExit, match=r"give model=\.\.\., codec="):
        roofline.main(["--cases", "seconds=1", *few, "--device", "cpu"])
