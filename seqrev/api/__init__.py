"""What Python and notebooks begin with: ``seqrev.train``, ``seqrev.load``, and what they give."""
