"""Symbols become ids of sources and targets."""

import numpy as np
import torch

from seqrev.model.tensors import to_tensors
from seqrev.task import BOS, EOS


def test_source_and_its_answer_run_from_bos_to_eos() -> None:
    source, target = to_tensors(np.array([[4, 8, 2], [0, 9, 9]]), "reverse", torch.device("cpu"))
    assert source.tolist() == [[BOS, 7, 11, 5, EOS], [BOS, 3, 12, 12, EOS]]
    assert target.tolist() == [[BOS, 5, 11, 7, EOS], [BOS, 12, 12, 3, EOS]]
    assert source.dtype == target.dtype == torch.int64
