"""A reverser whose causes are known, since its weights are written by hand: chapter 1 of the guide as a whole model."""

import math

import torch
from torch import Tensor

from seqrev.config import ModelConfig
from seqrev.model.positions import apply_rotary, rotation
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS

VOCABULARY = 13
D_HEAD = 32
SHARP = 30.0  # of queries and keys: so large that all weight is at one position
LOUD = 30.0  # a constant beside which tokens are small, so that norms are almost linear


@torch.no_grad()
def reverser_by_hand(relayed: bool = False) -> Transformer:
    """Head 1 of the cross-attention copies the token that is as far from the end as the step is from the start.

    Rotary positions count the source from its end, so this token is always one position further than the step. After the
    symbols comes ``<BOS>``, which the output layer reads as ``<EOS>``. Every position of the encoder attends to itself, and
    adds nothing. Nothing else is there: head 2, the decoder's self-attention and the feed-forward blocks are zero.

    ``relayed``: head 1 of the encoder writes the token of its position down once more, and the decoder copies that.
    """
    shape = {"d_model": 2 * D_HEAD, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 8, "max_positions": 64}
    config = ModelConfig.model_validate(shape | {"positions": "rotary", "source_from": "end", "position_base": 50.0})
    model = Transformer(config, VOCABULARY).double().eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    centred = torch.eye(VOCABULARY, dtype=torch.float64) - 1 / VOCABULARY
    model.encoder.embedding.tokens.weight[:, :VOCABULARY] = centred
    for tokens in (model.encoder.embedding.tokens, model.decoder.embedding.tokens):
        tokens.weight[:, -2], tokens.weight[:, -1] = LOUD, -LOUD
    address = SHARP * torch.ones(1, 1, 1, D_HEAD, dtype=torch.float64) / math.sqrt(D_HEAD)
    looks_at_itself, copies = model.encoder.layers[0].self_attention, model.decoder.layers[0].cross_attention
    for attention, further in ((looks_at_itself, 0), (copies, 1)):
        attention.k_proj.bias[:D_HEAD] = address.flatten()
        attention.q_proj.bias[:D_HEAD] = _turned(address, further).flatten()
    looks_at_itself.q_proj.bias[D_HEAD:] = looks_at_itself.k_proj.bias[D_HEAD:] = address.flatten()
    once = torch.eye(VOCABULARY, dtype=torch.float64)
    read_from = slice(VOCABULARY, 2 * VOCABULARY) if relayed else slice(VOCABULARY)
    copies.v_proj.weight[:VOCABULARY, read_from] = LOUD * once
    if relayed:
        looks_at_itself.v_proj.weight[:VOCABULARY, :VOCABULARY] = once
        looks_at_itself.out_proj.weight[read_from, :VOCABULARY] = once
    copies.out_proj.weight[:VOCABULARY, :VOCABULARY] = torch.eye(VOCABULARY, dtype=torch.float64)
    emitted = centred.clone()
    emitted[EOS] = centred[BOS]
    emitted[BOS] = 0
    model.output.weight[:, :VOCABULARY] = 1000 * emitted
    return model


def _turned(address: Tensor, positions: int) -> Tensor:
    """The query that finds a key this much further on."""
    return apply_rotary(address, rotation(torch.tensor([positions]), D_HEAD, 50.0))
