"""`kresp3d doctor`."""

from __future__ import annotations

import click


@click.command("doctor")
def command() -> None:
    """Say what works on this machine, and what to do about the rest."""
    import tensorflow as tf

    click.echo(f"{tf.__version__} {tf.config.list_physical_devices()}")
