"""Sweeps over the configuration with keras-tuner: what is tried, how a trial is run, and what came out."""
