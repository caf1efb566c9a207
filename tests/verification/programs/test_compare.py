"""Which outputs and results are taken for the expected ones."""

import time

import pytest

from acejax.verification.programs.compare import Reals, outputs_match, report_matches, values_match


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("1 2\n3\n", "1 2 \r\n3\r\n\r\n", True),
        ("1 2\n3", "1 2 3", False),
        ("1\n\n2", "1\n2", False),
        ("YES", "Yes", False),
        ("10000", "10000.0", False),
        ("10000", "10001", False),
        ("2.0", "2", True),
        ("nan", "nan", False),
        ("1 nan", "1 nan", False),
        ("0.5", "nan", False),
        ("0.5", "0_5", False),
        ("0.5", "0,5", False),
        ("0.5", ".5", True),
        ("0.5", "+0.50", True),
        ("0.5", "5e-1", True),
        ("0.5", ".", False),
        ("0.5", "e5", False),
        ("inf", "inf", True),
        ("1e308", "inf", False),
        ("", "\n\n", True),
        ("1", "", False),
        ("9" * 5000, "9" * 5000, True),
        ("banana", "banana", True),
        ("1\xa02", "1\xa02", True),
        ("1\xa02", "1 2", True),  # as data taken from web pages have it
        ("1 2", "1\u20032", False),
        ("1 2", "1\u20282", False),
        ("1\n2", "1\x1c2", False),
        ("1\n2", "1\x852", False),
        ("1 2", "1\t2", True),
    ],
)
def test_printed_output(expected, got, same):
    assert outputs_match(expected, got) is same


@pytest.mark.parametrize("digits", ["٣.٥", "３.５", "३.५", "𝟑.𝟓", "৩.৫", "3.٥", "²"])
def test_digits_of_other_scripts_are_no_numbers(digits):
    assert not outputs_match("3.5", digits)
    assert not outputs_match("3.50", digits)
    assert outputs_match(digits, digits)
    assert not outputs_match(digits, "3.5")


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("0.333333", "0.3333333", True),
        ("0.333333333333", "0.333333", True),
        ("0.123456789012", "0.123457", True),
        ("0.5", "0.50001", False),
        ("0.33", "0.3333", False),
        ("3.14159", "3.14159265", True),
        ("3.14159265358979", "3.141593", True),
        ("3.14159265358979", "3.1416", False),
        # Large ones, to the digits that are shown.
        ("100000000.5", "100000099", False),
        ("100000000.5", "100000050", False),
        ("100000000.5", "100000001", False),
        ("1000000.5", "1000001", False),
        ("123456789.25", "123456700", False),
        ("100000000.5", "100000000.50001", True),
        ("123456.789012", "123456.7890", True),
        ("1234.567891", "1234.568", True),
        ("1000000000.5", "1000000001.5", True),
        ("1e+16", "10000000000000000", True),
        ("1e+06", "1000000", True),
        # Small ones, to their own size.
        ("1e-9", "0", False),
        ("1e-07", "0", False),
        ("1e-07", "9e-7", False),
        ("1e-12", "1e-13", False),
        ("5e-10", "-5e-10", False),
        ("0.000000001", "0", False),
        ("0.0000001", "0.0000002", False),
        ("1e-300", "1e-301", False),
        ("1e-9", "1.0000000001e-9", True),
        ("0.000012", "0.0000123", True),
        ("0.0", "1e-12", True),
        ("0.000000", "0.0000004", True),
        ("0.000000", "-0.0", True),
        ("0.0", "0.001", False),
        # What no float holds.
        ("1e+500", "1e+400", False),
        ("1.0e500", "1e400", False),
        ("1e-400", "1e-500", False),
        ("1e-400", "0", False),
        ("1.5e400", "1.5000000001e400", True),
        ("1.0e99999999999999999999", "5", False),
        ("5.0", "1e99999999999999999999", False),
        ("1.0e99999999999999999999", "1.0e99999999999999999998", False),
    ],
)
def test_real_numbers(expected, got, same):
    assert outputs_match(expected, got) is same
    assert outputs_match("-" + expected, "-" + got if got[0] != "-" else got[1:]) is same


@pytest.mark.parametrize("name", ["7e2", "0e1234", "1e6", "12E3", "0e0", "00e1", "9e99"])
def test_an_exponent_without_a_sign_or_a_point_makes_no_number(name):
    for got in (str(float(name)), str(int(float(name))), name + "0", "0", name.swapcase()):
        assert not outputs_match(name, got)
    assert outputs_match(name, name)
    # Among real numbers it is one.
    assert outputs_match(name, str(float(name)), Reals(["0.5", name]))
    assert outputs_match(f"x {name}", f"x {float(name)}", Reals(["y 2.5e3"]))
    assert not outputs_match(f"x {name}", f"x {float(name)}", Reals(["2.5 y", "x 3", "2.5"]))


@pytest.mark.parametrize(
    ("others", "expected", "got", "same"),
    [
        (["2.5"], "2", "2.0", True),
        (["2.5"], "2", "2.00000000001", True),
        (["2.5"], "2", "2.1", False),
        (["2.5"], "-3", "-3.000000", True),
        (["1", "3"], "2", "2.0", False),
        ([], "2", "2.0", False),
        (["3\n0.5\n2.25"], "3\n1\n2", "3\n1.0\n2.0", True),
        (["Case 1: 2.5"], "Case 2: 2", "Case 2: 2.0", True),
        (["Case 1: 2.5"], "Case 2: 2", "Case 2.0: 2.0", False),
        (["3 0.5"], "4 1", "4 1.0", True),
        (["3 0.5"], "4 1", "4.0 1", False),
        (["0.5 1.5 x"], "1 2", "1.0 2.0", False),
        (["v1.5", "a.b", "0x1p-3"], "2", "2.0", False),
        (["1e-05"], "2", "2.0", True),
    ],
)
def test_a_whole_number_is_real_where_other_cases_are(others, expected, got, same):
    assert outputs_match(expected, got, Reals([*others, expected])) is same


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("\n7", "7", True),
        ("\n7", "\n7", True),
        ("\n\n7\n", "7", True),
        (" \n\t\n  7 8", "7 8\n", True),
        ("\r\n7", "7", True),
        ("\n7", "\n\n7", True),
        ("\n7", "8", False),
        ("\n7\n8", "7\n\n8", False),
        ("7", "\n7", False),
        ("  7", "7", True),
    ],
)
def test_empty_lines_in_front_of_what_is_expected(expected, got, same):
    assert outputs_match(expected, got) is same


@pytest.mark.parametrize("expected", ["7", "\n7", "1.5 2.5", "7\n8", "", "0.5"])
@pytest.mark.parametrize("part", ["\n", " ", "1 ", "1\n", "\r\n", "\r", "0.5 ", "\f", "9", "1e", "."])
def test_a_flood_is_judged_in_no_time(expected, part):
    flood = part * ((8 << 20) // len(part))
    began = time.process_time()
    outputs_match(expected, flood)
    outputs_match(expected, f"7{flood}8")
    outputs_match(expected, f"{flood}7")
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ([1, [2, 3]], [1, [2, 3]], True),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2, 3], False),
        (1, True, False),
        (True, 1, False),
        (5, 5.0, False),
        (5.0, 5, True),
        (5.0, True, False),
        (0.1, 0.1000000001, True),
        (0.1, 0.1001, False),
        (1e-9, 0.0, False),
        (1e-9, 0, False),
        (100000000.5, 100000099, False),
        (100000000.5, 100000000.50001, True),
        (0.0, 1e-15, True),
        (1e300, 1e301, False),
        (1e300, float("inf"), False),
        (float("inf"), 1e300, False),
        (float("inf"), float("-inf"), False),
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        (1.5, 10**400, False),
        (None, None, True),
        (None, 0, False),
        ("a", "a", True),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([], {}, False),
    ],
)
def test_results(expected, got, same):
    assert values_match(expected, got) is same


@pytest.mark.parametrize(
    ("others", "expected", "got", "same"),
    [
        ([2.5], 2, 2.0, True),
        ([2.5], 2, 2.5, False),
        ([2.5], True, 1.0, False),
        ([3], 2, 2.0, False),
        ([[0.5, 1]], [2, 3], [2.0, 3.0], True),
        ([[0.5, 1]], 2, 2.0, False),
        ([{"mean": 1.5, "n": 3}], {"mean": 2, "n": 4}, {"mean": 2.0, "n": 4}, True),
        ([{"mean": 1.5, "n": 3}], {"mean": 2, "n": 4}, {"mean": 2, "n": 4.0}, False),
        ([2.5], 10**400, 1e300, False),
    ],
)
def test_a_whole_result_is_real_where_other_cases_are(others, expected, got, same):
    assert values_match(expected, got, Reals([*others, expected])) is same


def test_a_report_that_is_no_json_is_wrong():
    assert report_matches([1], "[1]")
    for report in ("", "[1", "[" * 100_000, "9" * 5000):
        assert not report_matches([1], report)


def test_deep_results():
    deep = "[" * 400 + "]" * 400
    value = []
    for _ in range(399):
        value = [value]
    assert report_matches(value, deep)
