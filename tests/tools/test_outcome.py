from pathlib import Path

from tools.outcome import lines


def test_the_first_round_against_the_last(tmp_path: Path) -> None:
    table = tmp_path / "rounds.csv"
    table.write_text("round,pckh_50,mpjpe_abs_mm,pckh_25\nr0,50.0,100.0,\nr1,60.0,80.0,1\nr2,70.04,61.96,2\n")
    first, pckh, mpjpe, report = lines(table, tmp_path / "report.html")
    assert first == "On the held-out frames, model r0 -> model r2:"
    assert pckh.split() == ["PCKh@0.5", "50.0", "->", "70.0", "%"]
    assert mpjpe.split() == ["MPJPE", "100.0", "->", "62.0", "mm"]
    assert report == f"Report: {tmp_path}/report.html"
