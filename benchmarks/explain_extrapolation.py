"""Draw why a run extrapolates: its attention at length 10 and 200, and its scores around the right source position.

python benchmarks/explain_extrapolation.py --run runs/001 --out docs/images
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from seqrev.api.reverser import Reverser, load
from seqrev.data.sampling import fresh_sequences
from seqrev.model.tensors import to_tensors
from seqrev.plotting import export as plots
from seqrev.plotting.attention import draw_attention
from seqrev.task import alignment

LENGTHS = (10, 200, 2000)
OFFSETS = np.arange(-12, 13)


def main() -> None:
    """Draw everything and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="latest")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    model = load(arguments.run, "cpu")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for length in LENGTHS[:2]:
        (sequence,) = fresh_sequences(length, 1, model.config)
        figure = draw_attention(model.attention(sequence), f"trained on lengths 1 to 10, length {length}")
        plots.save_figure(figure, arguments.out / f"attention-{length}.png")
    plots.save_figure(draw_scores(model), arguments.out / "scores.png")


def draw_scores(model: Reverser) -> Figure:
    """Score of the source positions around the right one, less its own: mean over the content rows of one sequence."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.add_subplot()
    for length, colour in zip(LENGTHS, ("#0072B2", "#D55E00", "#009E73"), strict=True):
        gaps, runner_up = score_gaps(model, length)
        print(
            f"length {length:>5,}: the right position leads its neighbours by {-gaps[[11, 13]].max():.1f} and all others "
            f"by {runner_up:.1f}; log of the number of others {np.log(length + 1):.1f}"
        )
        axes.plot(OFFSETS, gaps, marker="o", markersize=4, color=colour, label=f"length {length:,}")
    axes.set_xlabel("source position, counted from the right one")
    axes.set_ylabel("score less that of the right position")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def score_gaps(model: Reverser, length: int) -> tuple[NDArray[np.floating], float]:
    """Mean score at each offset, and the smallest lead over any other position in any row."""
    sequences = np.array(fresh_sequences(length, 1, model.config))
    source, target = to_tensors(sequences, "reverse", torch.device("cpu"))
    seen: list[Tensor] = []
    softmax = model.model.decoder.layers[0].cross_attention.softmax
    with torch.inference_mode(), softmax.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        model.model(source, target[:, :-1])
    scores = seen[0][0].mean(0)[:length].numpy()
    right = alignment(sequences, "reverse")[0] + 1
    rows = np.arange(length)
    relative = scores - scores[rows, right][:, None]
    means = []
    for offset in OFFSETS:
        inside = (right + offset >= 0) & (right + offset < scores.shape[1])
        means.append(relative[rows[inside], right[inside] + offset].mean() if inside.any() else np.nan)
    relative[rows, right] = -np.inf
    return np.array(means), float(-relative.max())


if __name__ == "__main__":
    main()
