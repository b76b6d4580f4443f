# Four images from one file; only the trainer has torch:
#   docker build --target server -t steptool-env/server .
#   docker build --target eval -t steptool-env/eval .
#   docker build --target openenv -t steptool-env/openenv .
#   docker build --target trainer -t steptool-env/trainer .
# A package index other than pip's default is given from outside: --build-arg PIP_INDEX_URL=...
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/steptool
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY toolserver toolserver
COPY steptool_env steptool_env
COPY agents agents
RUN /opt/steptool/bin/pip install -c constraints.txt '.[redis]'

FROM build AS build-eval
RUN /opt/steptool/bin/pip install -c constraints.txt '.[redis,report]'

FROM build AS build-openenv
RUN /opt/steptool/bin/pip install '.[openenv]'

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/steptool/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The folders exist with their owner, so that named volumes mounted there belong to it.
RUN useradd --uid 10001 --create-home steptool && install --directory --owner=steptool /cache /runs
USER steptool
WORKDIR /home/steptool

FROM base AS eval
COPY --from=build-eval /opt/steptool /opt/steptool
CMD ["steptool", "--help"]

FROM base AS openenv
COPY --from=build-openenv /opt/steptool /opt/steptool
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["steptool", "serve-openenv", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS server
COPY --from=build /opt/steptool /opt/steptool
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=5 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["toolserver", "serve", "--cache", "/cache", "--read-only", "--host", "0.0.0.0", "--port", "8000"]

# Last, because builders without BuildKit run all stages before the one that is asked for.
FROM build AS build-trainer
RUN /opt/steptool/bin/pip install -c constraints.txt '.[agents,redis]'

FROM base AS trainer
ENV MPLCONFIGDIR=/tmp/matplotlib
COPY --from=build-trainer /opt/steptool /opt/steptool
CMD ["steptool", "--help"]

# What `docker build .` makes without a target.
FROM server
