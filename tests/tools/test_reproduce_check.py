"""Two locks of a pipeline prepare -> train -> measure."""

import copy
from typing import Any

from tools import reproduce_check


def lock(prepared: str = "1", model: str = "2", measured: str = "3") -> dict[str, Any]:
    def files(**hashes: str) -> list[dict[str, str]]:
        return [{"path": path, "md5": md5} for path, md5 in hashes.items()]

    return {
        "prepare": {"cmd": "p", "deps": files(raw="0"), "outs": files(prepared=prepared)},
        "retrain@r1": {"cmd": "t", "deps": files(prepared=prepared), "outs": files(model=model)},
        "measure": {"cmd": "m", "deps": files(model=model), "outs": files(measured=measured)},
    }


def test_equal_locks() -> None:
    assert reproduce_check._differing(lock(), lock()) == []
    assert list(reproduce_check._unlike(lock(), lock())) == []


def test_the_stage_where_a_difference_began_comes_first() -> None:
    assert reproduce_check._differing(lock(), lock(model="7", measured="8")) == [
        "retrain@r1: model differs, though its inputs were the same",
        "measure: measured differs",
    ]


def test_other_params_and_missing_stages() -> None:
    other = lock()
    other["prepare"]["params"] = {"params.yaml": {"size": 3}}
    assert reproduce_check._differing(lock(), other) == ["prepare: other commands, params or inputs"]
    other = lock()
    del other["measure"]
    assert reproduce_check._differing(lock(), other) == ["measure: ran in one clone only"]


def test_a_training_may_drift_and_what_follows_it_too() -> None:
    assert list(reproduce_check._unlike(lock(), lock(model="7", measured="8"))) == []
    assert list(reproduce_check._unlike(lock(), lock(measured="8"))) == [
        "measure: measured is not what is committed, though its inputs are"
    ]
    fewer = copy.deepcopy(lock())
    del fewer["measure"]
    assert list(reproduce_check._unlike(lock(), fewer)) == ["dvc.lock: has other stages than the pipeline (measure)"]


def test_numbers_within_and_out_of_tolerance() -> None:
    committed = {"r0.pckh_50": 50.0, "r0.gone": 1.0}
    off = list(reproduce_check._off(committed, {"r0.pckh_50": 51.4, "r0.gone": 1.4}, relative=0.02, absolute=0.5))
    assert off == []
    off = list(reproduce_check._off(committed, {"r0.pckh_50": 52.0}, relative=0.02, absolute=0.5))
    assert off == [
        "metrics/summary.json: r0.gone was 1.0, is None",
        "metrics/summary.json: r0.pckh_50 was 50.0, is 52.0",
    ]
