"""Modality names and label conventions."""

from __future__ import annotations

import pytest

from monai_ext.labels import (
    CLASSES,
    CONVENTIONS,
    DECATHLON_CHANNELS,
    MODALITIES,
    MODALITY_TITLES,
    NUM_CLASSES,
    REGIONS,
    canonical_modality,
    class_names,
    file_values,
    merged_classes,
    parse_modalities,
    regions,
)


@pytest.mark.parametrize(
    "given, expected",
    [
        ("all", MODALITIES),
        (" ALL ", MODALITIES),
        (["all"], MODALITIES),
        ("t2f", ("t2f",)),
        ("flair,t1", ("t1n", "t2f")),
        ("T1ce, T1Gd ,t1c", ("t1c",)),
        (("t2w", "t1w"), ("t1n", "t2w")),
        ("t1c,", ("t1c",)),
        (["t2f", "t2w", "t1c", "t1n"], MODALITIES),
    ],
)
def test_parse_modalities(given, expected):
    assert parse_modalities(given) == expected


@pytest.mark.parametrize("given, message", [("t1,pd", "'pd'"), ("", "no modality"), ([], "no modality"), (",", "no")])
def test_parse_modalities_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        parse_modalities(given)


@pytest.mark.parametrize(
    "canonical, spellings",
    [
        ("t1n", ["t1", "T1", "t1w", "t1n"]),
        ("t1c", ["t1c", "T1ce", "t1Gd"]),
        ("t2w", ["t2", "T2w"]),
        ("t2f", ["t2f", "FLAIR", " Flair "]),
    ],
)
def test_alias(canonical, spellings):
    assert {canonical_modality(s) for s in spellings} == {canonical}


@pytest.mark.parametrize(
    "convention, file_values",
    [
        ("brats2023", [0, 1, 2, 3]),
        ("brats2017", [0, 1, 2, 4]),
        ("brats2015", [0, 1, 2, 4]),
        ("decathlon", [0, 2, 1, 3]),
    ],
)
def test_conventions_round_trip(convention, file_values):
    """``file_values`` are what the release calls background, NCR, ED and ET."""
    table = CONVENTIONS[convention]
    assert table.name == convention
    assert [table.from_canonical[c] for c in sorted(CLASSES)] == file_values
    assert [table.to_canonical[v] for v in file_values] == [0, 1, 2, 3]


def test_every_value_of_a_file_is_known():
    assert {n: sorted(c.to_canonical) for n, c in CONVENTIONS.items()} == {
        "brats2023": [0, 1, 2, 3],
        "brats2017": [0, 1, 2, 4],
        "brats2015": [0, 1, 2, 3, 4],
        "decathlon": [0, 1, 2, 3],
    }
    # necrosis and the non-enhancing core of 2015 are one class
    assert [CONVENTIONS["brats2015"].to_canonical[v] for v in (1, 3)] == [1, 1]


def test_tables_agree():
    assert NUM_CLASSES == 3 and CLASSES[0] == "background"
    assert REGIONS == {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    assert sorted(DECATHLON_CHANNELS) == sorted(MODALITIES) == sorted(MODALITY_TITLES)
    assert [MODALITY_TITLES[m] for m in DECATHLON_CHANNELS] == ["FLAIR", "T1", "T1c", "T2"]


@pytest.mark.parametrize(
    "num_classes, merged, names, regions_left",
    [
        (1, [0, 1, 1, 1], ["background", "WT"], ["WT"]),
        (2, [0, 1, 2, 1], ["background", "TC", "ED"], ["WT", "TC"]),
        (3, [0, 1, 2, 3], ["background", "NCR", "ED", "ET"], ["WT", "TC", "ET"]),
    ],
)
def test_merged_classes(num_classes, merged, names, regions_left):
    table = merged_classes(num_classes)
    assert [table[k] for k in sorted(CLASSES)] == merged
    assert [table[c] for c in merged] == merged, "merged once more it says the same"
    assert list(class_names(num_classes).values()) == names and list(regions(num_classes)) == regions_left
    # a region holds the same voxels before and after
    for values in regions(num_classes).values():
        assert {k for k in CLASSES if k in values} == {k for k in CLASSES if k and table[k] in values}


@pytest.mark.parametrize("number", [0, 4, 2.5])
def test_classes_without_a_table(number):
    with pytest.raises(ValueError, match="num_classes is 1 .* or 3 .*, got"):
        merged_classes(number)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_values_in_files(convention):
    """What is written with fewer classes is read with as many."""
    for number in (1, 2, 3):
        values = file_values(convention, number)
        read = [merged_classes(number)[CONVENTIONS[convention].to_canonical[values[k]]] for k in class_names(number)]
        assert read == list(class_names(number))
    assert [file_values(convention, 1)[k] for k in (0, 1)] == [0, 1]
