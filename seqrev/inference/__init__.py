"""From a trained model to answers: search, teacher forcing, and how good the answers are.

Everywhere, ``model`` is in evaluation mode, and ``sources`` are symbols, not ids.
"""

LARGEST_BEAM = 1_000  # hypotheses of a search
