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
    REAKTLY_LOG_FORMAT=json
USER reaktly
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
CMD ["reaktly", "serve"]
