"""The form of the checks; those of each page are tried in tests/checks/."""

import torch

from boringfusion_lite.checks.verdict import ask, checks, expect


@checks
def check_double(yours):
    x = torch.tensor([1.0, 2.0])
    causes = {"It is squared, not doubled.": x**2}
    expect(ask(yours, x), 2 * x, "twice x", causes)
    return "every number is doubled"


def test_right():
    assert check_double(lambda x: x + x).passed is True


def test_an_untouched_exercise_is_not_attempted():
    for answer in (None, ...):
        verdict = check_double(lambda x, answer=answer: answer)
        assert verdict.passed is None and repr(verdict) == "not attempted"


def test_a_known_mistake_is_named():
    verdict = check_double(lambda x: x**2)
    assert verdict.passed is False and "squared" in verdict.message


def test_an_unknown_one_says_what_was_expected_and_what_came():
    verdict = check_double(lambda x: x - 1)
    assert "expected a tensor [2] beginning 2, 4" in verdict.message
    assert "got a tensor [2] beginning 0, 1" in verdict.message


def test_changing_the_argument_in_place_is_noticed():
    assert "in place" in check_double(lambda x: x.mul_(2)).message


def test_an_exception_is_told():
    assert "ZeroDivisionError" in check_double(lambda x: 1 / 0).message


def test_nan_is_never_right():
    assert check_double(lambda x: x * float("nan")).passed is False
