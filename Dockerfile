# kresp3d for CPUs:
#
#   docker build -t kresp3d .
#   docker run --rm -v "$PWD:/work" kresp3d train --config base
#
# For NVIDIA GPUs: --build-arg EXTRAS=export,gpu (TensorFlow brings CUDA's libraries along), and `docker run --gpus all`.
FROM python:3.11-slim

ARG EXTRAS=export
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 MPLBACKEND=agg

COPY . /tmp/kresp3d
RUN pip install -c /tmp/kresp3d/constraints/default.txt "/tmp/kresp3d[${EXTRAS}]" && rm -rf /tmp/kresp3d

# Not as root: what is written into /work belongs to this user, or to that of `docker run --user`.
RUN useradd --create-home kresp3d
USER kresp3d
WORKDIR /work
ENTRYPOINT ["kresp3d"]
CMD ["--help"]
