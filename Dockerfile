# The README's set-up on a slim Debian. How to build and use it: book/containers.md
#   docker build -t deeprehab .                            for the CPU
#   docker build -t deeprehab:gpu --build-arg GPU=1 .      for NVIDIA GPUs: CUDA comes with the Python packages
FROM python:3.12-slim-bookworm

LABEL org.opencontainers.image.title="deeprehab-nb" \
      org.opencontainers.image.description="A benchmark of deep learning for skeleton-based rehabilitation assessment" \
      org.opencontainers.image.source="https://github.com/deeprehab-nb/deeprehab-nb" \
      org.opencontainers.image.licenses="Apache-2.0"

# Debian keeps only the latest version of a package, so none is named
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends make tini && rm -rf /var/lib/apt/lists/*

# what the set-up reads comes first, so that a changed notebook does not install everything anew
WORKDIR /opt/deeprehab-nb
COPY Makefile pyproject.toml requirements.lock requirements-gpu.lock README.md LICENSE ./
COPY deeprehab_nb/__init__.py deeprehab_nb/
ARG GPU=0
RUN PIP_NO_CACHE_DIR=1 make setup GPU=$GPU
COPY . .

# any user may run it, also one that it does not know (docker run --user) and that libraries ask for a name and a home;
# what came from the clone is readable whatever its umask was
RUN find . -name .venv -prune -o ! -type l -exec chmod a+rX {} + \
 && useradd --uid 1000 --create-home deeprehab \
 && install --directory --mode=1777 /home/deeprehab /data /results
ENV USER=deeprehab HOME=/home/deeprehab PATH=/opt/deeprehab-nb/.venv/bin:$PATH DEEPREHAB_DATA=/data
USER 1000
VOLUME ["/data", "/results"]
WORKDIR /results

# docker stop is to be what Ctrl-C is at a terminal: an interrupt for the program and for those that it has started
STOPSIGNAL SIGINT
ENTRYPOINT ["tini", "-gs", "--", "deeprehab"]
CMD ["--help"]
