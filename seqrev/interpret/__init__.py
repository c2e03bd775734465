"""Looking inside a trained model: attention maps, how well they are aligned, what heads do, and how it was learned.

Everywhere, ``model`` is in evaluation mode, and ``source`` and ``sources`` are symbols; layers and heads count from 1.
"""
