"""Which outputs and results are taken for the expected ones."""

import pytest

from acejax.verification.programs.compare import outputs_match, report_matches, values_match


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("1 2\n3\n", "1 2 \r\n3\r\n\r\n", True),
        ("1 2\n3", "1 2 3", False),
        ("1\n\n2", "1\n2", False),
        ("YES", "Yes", False),
        ("10000", "10000.0", False),
        ("10000", "10001", False),
        ("0.333333", "0.3333333", True),
        ("0.5", "0.50001", False),
        ("2.0", "2", True),
        ("1e6", "1000000", True),
        ("1000000000.5", "1000000001.5", True),
        ("nan", "nan", False),
        ("0.5", "nan", False),
        ("0.5", "0_5", False),
        ("", "\n\n", True),
        ("1", "", False),
        ("9" * 5000, "9" * 5000, True),
    ],
)
def test_printed_output(expected, got, same):
    assert outputs_match(expected, got) is same


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


def test_a_report_that_is_no_json_is_wrong():
    assert report_matches([1], "[1]")
    for report in ("", "[1", "[" * 100_000):
        assert not report_matches([1], report)
