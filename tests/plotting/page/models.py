"""Models for the tests of the page, and the pages of them."""

from collections.abc import Sequence

import torch

import seqrev
from seqrev.api.reverser import Reverser
from seqrev.config import ModelConfig
from seqrev.model.transformer import Transformer
from seqrev.plotting.page import Learned, Stage, attention_page
from seqrev.task import RuleName, vocabulary_size
from tests.docs.guide import ROOT


def random_model(
    config: ModelConfig, symbols: int = 10, rule: RuleName = "reverse", longest_answer: int | None = None
) -> Transformer:
    """An untrained model that attends to some positions more than to others."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(config, vocabulary_size(symbols), rule, longest_answer)
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.15 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def configured_model(name: str) -> Transformer:
    """An untrained model of ``configs/NAME.yaml``."""
    return random_model(seqrev.load_config(ROOT / "configs" / f"{name}.yaml").model)


def stage_of(model: Transformer, name: str = "step 500") -> Stage:
    return Stage(name, {key: tensor.numpy().copy() for key, tensor in model.state_dict().items()})


def page_of(model: Transformer, source: Sequence[int], stages: Sequence[Stage] | None = None, title: str = "a run") -> str:
    """The page of a model, which begins with a source; ``stages`` None: the model as it is."""
    seen = Reverser(seqrev.Config(model=model.config), model).attention(source)
    some = [stage_of(model)] if stages is None else stages
    learned = Learned(model.rule, longest_source=10, longest_answer=model.longest_answer)
    return attention_page(seen.to_arrays(), model.config, learned, title, some)
