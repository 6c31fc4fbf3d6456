# The service on CPU. Build: docker build -t unirank .    Run: docker run -p 127.0.0.1:8000:8000 -v models:/models unirank
# Without a model in /models it trains the demo first; /readyz says so meanwhile, and /livez is well.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/unirank
ENV PATH=/opt/unirank/bin:$PATH
# PyTorch first and from its own index: the build without CUDA is a tenth of the size, and this layer seldom changes.
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY model ./model
COPY app ./app
RUN pip install -c constraints.txt .[demo,large]

FROM python:3.11-slim
# One compute thread a process: more of them fight over the cores (2 × 640 calls/s against 2 × 327 on two cores).
ENV PATH=/opt/unirank/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    UNIRANK_STATE_DIR=/state
RUN useradd --system --uid 10001 --create-home unirank \
    && mkdir /models /state \
    && chown unirank:unirank /models /state
COPY --from=build /opt/unirank /opt/unirank
USER unirank
WORKDIR /home/unirank
VOLUME ["/models", "/state"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["unirank", "serve", "/models", "--host", "0.0.0.0", "--demo-if-empty"]
