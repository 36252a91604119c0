"""Table 2 and the rows that a command line asks for."""

from __future__ import annotations

import pytest

from monai_ext.labels import MODALITIES
from monai_ext.usability import TABLE2, parse_models, parse_rows


def names(rows):
    return [r.name for r in parse_rows(rows)]


def test_table_2():
    assert len(TABLE2) == 25
    row = TABLE2["33"]
    assert (row.real, row.synthetic, row.classical, row.order) == (1, 0.5, 0, "mix")
    assert (row.paper_mse, row.paper_dice) == (0.023, 0.939)
    assert {n for n, r in TABLE2.items() if r.order != "mix"} == {"7", "8", "9", "16", "17"}
    assert [n for n, r in TABLE2.items() if r.classical] == ["35", "36", "37", "22", "23", "24"]
    assert max(TABLE2.values(), key=lambda r: r.paper_dice).name == "17"


@pytest.mark.parametrize("rows", ["1,33,17", "33, 1,17,1", (1, 33, 17), [17, "1", 33], ["1,33", 17]])
def test_numbers_in_the_order_of_the_table(rows):
    assert names(rows) == ["1", "33", "17"]


@pytest.mark.parametrize("rows", [2, "2", (2,), [2], "0:1:0"])
def test_one_row(rows):
    assert names(rows) == ["2"]


def test_mixtures():
    mine, theirs = parse_rows("0.25:1.5:0.5, 1:0.5:0:mix")[::-1]
    assert (mine.name, mine.slug) == ("0.25:1.5:0.5:mix", "0.25-1.5-0.5-mix")
    assert (mine.real, mine.synthetic, mine.classical, mine.order) == (0.25, 1.5, 0.5, "mix")
    assert mine.paper_mse is None and mine.paper_dice is None
    assert theirs is TABLE2["33"], "a mixture of the table is that row"
    assert names(("0.3:0.3:0:synthetic_first", 1)) == ["1", "0.3:0.3:0:synthetic_first"]


@pytest.mark.parametrize(
    "rows, message",
    [
        (5, "row '5' is neither a row of Table 2"),
        (True, "row 'True' is neither a row of Table 2"),
        ("1,real", "row 'real' is neither"),
        ("1:2", "a mixture is R:S:A or R:S:A:order"),
        ("1:a:0", "a mixture is R:S:A"),
        ("1:1:0:last", "order is one of mix, real_first, synthetic_first, got 'last'"),
        ("2:1:0", "R is a share of the real set, at most 1"),
        ("1:-1:0", "R, S and A are numbers of at least 0"),
        ("1:nan:0", "R, S and A are numbers of at least 0"),
        ("0:0:1", "nothing is left to train on"),
        ("0:1:1", "A is made from real slices"),
        ("1:0:0:real_first", "real_first needs R and S above 0"),
        ("", "no row given"),
        ((), "no row given"),
    ],
)
def test_rows_that_make_no_sense(rows, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_rows(rows)
    assert "\n" not in str(error.value)


def test_models():
    assert parse_models("all") == ["all"] and parse_models("each") == list(MODALITIES)
    assert parse_models("flair,all") == parse_models(("t2f", "all", "FLAIR")) == ["t2f", "all"]
    for wrong in ("", "each,all", ()):
        with pytest.raises(ValueError, match="models is 'all', 'each' or a list"):
            parse_models(wrong)
    with pytest.raises(ValueError, match="unknown modality 'pet'"):
        parse_models("all,pet")
