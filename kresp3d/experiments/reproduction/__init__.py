"""The paper's experiments as one command: what is trained, how it is run, and what its claims are worth on the data."""
