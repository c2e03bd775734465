"""Which map, which labels, which words."""

from seqrev import pictures


def test_the_example_is_the_first_of_the_longest_that_fit() -> None:
    sequences = [[1], [1, 2], [2, 1], list(range(30))]
    assert pictures.longest(sequences) == [1, 2]
    assert pictures.longest(sequences, at_most=1) == [1]
    assert pictures.longest([list(range(30)), list(range(40))]) == list(range(40))
