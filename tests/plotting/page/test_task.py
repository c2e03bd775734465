"""The rules in JavaScript are those of seqrev/task.py."""

import numpy as np

from seqrev.config import ModelConfig
from seqrev.task import RULES, alignment
from tests.plotting.page.conftest import Open
from tests.plotting.page.models import page_of, random_model


def test_every_rule_looks_where_that_of_python_looks(show: Open) -> None:
    page = show(page_of(random_model(ModelConfig(d_model=8, heads=1, d_ff=8, max_positions=64)), [1]))
    assert page.run("return Object.keys(RULES)") == list(RULES)
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 10, length) for length in [*range(1, 13)] * 4]
    script = "return arguments[1].map((source) => alignment(source, arguments[0]))"
    for rule in RULES:
        found = page.run(script, rule, [sequence.tolist() for sequence in sequences])
        assert found == [alignment(sequence, rule).tolist() for sequence in sequences]
    assert page.run(script, "pairs", [[1, 2]]) == [None]
