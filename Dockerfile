# One image for every process; compose.yaml and deploy/kubernetes give each its command.
FROM node:24-slim AS scripts
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --ignore-scripts

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=protipp.settings \
    PROTIPP_LOCAL_DIR=/srv/protipp
# HAProxy's wheel needs nothing more; the account owns nothing of the code.
RUN groupadd --gid 10001 protipp && useradd --uid 10001 --gid 10001 --home-dir /scratch protipp \
    && mkdir -p /srv/protipp /scratch && chown protipp:protipp /scratch
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY --from=scripts /app/node_modules ./node_modules
COPY manage.py pyproject.toml ./
COPY protipp ./protipp
COPY performance ./performance
COPY odds ./odds
COPY templates ./templates
COPY static ./static
# Into the image, so that each build brings the files that its pages name.
RUN python -m compileall -q protipp performance odds \
    && python manage.py collectstatic --noinput --verbosity 0
USER 10001:10001
EXPOSE 8000 8080
CMD ["granian", "protipp.wsgi:application", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "1", "--blocking-threads", "4", "--no-ws", "--backlog", "16384", "--backpressure", "9000", "--http1-header-read-timeout", "5000", "--workers-kill-timeout", "2", "--log-level", "warning"]
