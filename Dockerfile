# syntax=docker/dockerfile:1
# The command line of EChat-eval, without (target `cpu`) or with the OSUM-EChat backend for a GPU (`cuda`):
#   docker build --target cpu -t echat-eval .
#   docker run --rm -v "$PWD/runs:/data/runs" echat-eval demo --out runs/demo
#   docker build --target cuda -t echat-eval:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" echat-eval:cuda run experiment.yaml
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:12.8.1-runtime-ubuntu24.04

FROM ${PYTHON_IMAGE} AS cpu
# libgomp: the sentence embedding and the language model's server; Noto: figures with Chinese and Japanese.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 fonts-noto-cjk \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/echat-eval
COPY requirements/demo.txt requirements/assets.txt requirements/
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements/demo.txt \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/assets.txt
COPY . .
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && useradd --create-home --uid 1000 echat \
 && mkdir /data && chown echat /data
ENV PATH=/opt/venv/bin:$PATH HF_HUB_OFFLINE=1
USER echat
WORKDIR /data
ENTRYPOINT ["echat-eval"]
CMD ["--help"]

FROM ${CUDA_IMAGE} AS cuda
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv libgomp1 g++ python3-dev fonts-noto-cjk \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/echat-eval
COPY . .
# g++ and Python's headers: torch.compile builds the decode step on first use.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir -r requirements/torch.txt \
 && /opt/venv/bin/pip install --no-cache-dir '.[osum,funasr,whisper,hub]' \
 && useradd --create-home echat \
 && mkdir /data && chown echat /data
ENV PATH=/opt/venv/bin:$PATH
USER echat
WORKDIR /data
ENTRYPOINT ["echat-eval"]
CMD ["--help"]
