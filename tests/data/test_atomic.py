"""Files come whole or not at all."""

from __future__ import annotations

import pytest

from monai_ext.data import atomic_path, write_csv


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "deep" / "a.nii.gz"
    with atomic_path(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("first")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first" and [p.name for p in path.parent.iterdir()] == ["a.nii.gz"]


def test_lines_of_a_csv(tmp_path):
    write_csv(tmp_path / "a.csv", [{"case": "é", "WT": 0.5}, {"case": "b,c", "WT": None}])
    assert (tmp_path / "a.csv").read_bytes().decode() == 'case,WT\r\né,0.5\r\n"b,c",\r\n'
    write_csv(tmp_path / "a.csv", [{"b": 1}, {"a": 2}], ["a", "b"])
    assert (tmp_path / "a.csv").read_text().split() == ["a,b", ",1", "2,"]
    with pytest.raises(ValueError, match="no rows"):
        write_csv(tmp_path / "b.csv", [])
    with pytest.raises(ValueError, match="fieldnames"):
        write_csv(tmp_path / "a.csv", [{"a": 1}, {"c": 2}])
    assert (tmp_path / "a.csv").read_text().split() == ["a,b", ",1", "2,"]
