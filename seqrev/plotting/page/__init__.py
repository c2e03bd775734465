"""The live page: one HTML file that holds a trained model, and needs no network."""

from seqrev.plotting.page.page import attention_page
from seqrev.plotting.page.stages import Stage

__all__ = ["Stage", "attention_page"]
