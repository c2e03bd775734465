"""The live page: one HTML file that holds a trained model, and needs no network."""

from seqrev.plotting.page.page import Learned, attention_page
from seqrev.plotting.page.stages import Stage

__all__ = ["Learned", "Stage", "attention_page"]
