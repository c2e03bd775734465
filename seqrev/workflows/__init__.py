"""What the commands do, for Python: where a run folder meets the rest.

>>> from seqrev.workflows.train import train
>>> summary = train(seqrev.load_config("small"))  # doctest: +SKIP
"""
