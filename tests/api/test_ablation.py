"""An ablation is in effect inside of ``with``, and says so to those who take it for a model."""

import copy
import pickle

import pytest

from seqrev.api.reverser import load
from seqrev.runs.folders import Run


def test_who_asks_an_ablation_is_told_to_ask_the_model(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    ablation = model.ablate("cross.1.1", "cross.1.2")
    assert repr(ablation) == "<Ablation of cross.1.1, cross.1.2: in effect inside of `with model.ablate(…):`>"
    with pytest.raises(AttributeError, match=r"An ablation has no reverse. Ask the model itself, inside of `with"):
        ablation.reverse([1, 2, 3])
    assert not hasattr(ablation, "_repr_html_")  # which notebooks look for


def test_an_ablation_may_be_kept_copied_and_used_again(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    whole, ablation = model.decode([[1, 2, 3]]), model.ablate("cross.1.1", "cross.1.2")
    for again in (ablation, ablation, copy.deepcopy(ablation), pickle.loads(pickle.dumps(ablation))):
        assert model.decode([[1, 2, 3]]) == whole
        with again as without:
            assert without.decode([[1, 2, 3]]) != whole
    assert model.decode([[1, 2, 3]]) == whole


def test_inside_of_itself_it_lasts_until_the_outer_with_ends(trained_run: Run) -> None:
    model = load(trained_run, "cpu")
    whole, ablation = model.decode([[1, 2, 3]]), model.ablate("cross.1.1", "cross.1.2")
    with ablation:
        without = model.decode([[1, 2, 3]])
        with ablation:
            assert model.decode([[1, 2, 3]]) == without
        assert model.decode([[1, 2, 3]]) == without
    assert model.decode([[1, 2, 3]]) == whole != without
