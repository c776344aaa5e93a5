"""Smaller and faster networks from a trained one: pruning, clustering, quantisation-aware training, slimming."""
