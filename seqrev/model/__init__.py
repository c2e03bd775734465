"""The model, from first principles: attention, masks, positions, layers, and the Transformer made of them."""
