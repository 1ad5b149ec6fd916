"""The small levels: how each predicts from a release's weights, and how each learns."""
