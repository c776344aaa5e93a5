"""Human action recognition with residual frames and an efficient pseudo-3D network, in Keras 3."""

__version__ = "0.1.0"
