# The pipeline's environment in a container, from requirements.lock (docs/sharing.md, "In a container"):
#   docker build -t dcgan .                            # for processors
#   docker build -t dcgan --build-arg EXTRAS=cuda .    # for NVIDIA cards; other extras of pyproject.toml work, too
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    # The project is mounted from the host, where it belongs to another user.
    && git config --system --add safe.directory '*'

WORKDIR /dcgan
# These two alone, so that a change of the code does not install the packages again.
COPY Makefile requirements.lock ./
# A mounted requirements.lock must not look newer than the packages. After a change of the lock, build the image again.
RUN make .venv/installed \
    && touch -d 2100-01-01 .venv/installed \
    && rm -rf /root/.cache

COPY . .
ARG EXTRAS=""
# Constraints with hashes would make pip ask for the hashes of the extras, too, which the lock does not have.
RUN if [ -n "$EXTRAS" ]; then \
      sed 's/ *\\$//; /--hash=/d' requirements.lock > /tmp/constraints.txt \
      && .venv/bin/pip install --no-cache-dir -c /tmp/constraints.txt -e ".[$EXTRAS]"; \
    fi

ENV PATH=/dcgan/.venv/bin:$PATH
CMD ["make", "repro"]
