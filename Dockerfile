# The product with its model, and nothing that only building needs.
FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make build \
    && .venv/bin/python -m scripts.runtime_lock > runtime.lock \
    && python -m venv /opt/reaktly \
    && /opt/reaktly/bin/pip install --no-cache-dir --require-hashes -r runtime.lock \
    && /opt/reaktly/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.12-slim-bookworm
COPY --from=build /opt/reaktly /opt/reaktly
RUN useradd --system --uid 10001 reaktly && install -d -o reaktly -g reaktly /data
ENV PATH=/opt/reaktly/bin:$PATH \
    REAKTLY_DATA_DIR=/data \
    REAKTLY_HOST=0.0.0.0 \
    REAKTLY_PORT=8000 \
    REAKTLY_LOG_FORMAT=json
USER reaktly
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Whether it can be used, for those who wait for it. Where what is unhealthy gets killed, put
# /health in its place: starting Reaktly again brings back no database.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"REAKTLY_PORT\"]}/ready', timeout=4)"]
CMD ["reaktly", "serve"]
