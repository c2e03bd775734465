"""The data: which sequences there are, how they are drawn, kept in files, and put into batches. No PyTorch."""
