"""Holm's correction for testing many hypotheses at once."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float], tests: int) -> dict[str, float]:
    r"""p-values corrected so that the chance of one false verdict or more among all tests stays below the level.

    .. math:: \tilde p_{(k)} = \min\left(1, \max_{j \le k} \, (n - j + 1) \, p_{(j)}\right)

    for the p-values in rising order [Holm, 1979].

    Parameters
    ----------
    p_values : by name; tests that have not been made yet are left out, and count as the last in the order.
    tests : n, how many there are in all.

    Raises
    ------
    ValueError : if there are more p-values than tests.
    """
    if len(p_values) > tests:
        raise ValueError(f"expected at most {tests} p-values, one for each test, got {len(p_values)}")
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, (tests - place) * p)
        corrected[name] = min(1.0, largest)
    return corrected
