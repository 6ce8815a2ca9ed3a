# The portal's image: one for web, worker, beat and migrate, which compose.yaml starts. The release is read only.
FROM python:3.11-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PORTAL_IGNORE_DOTENV=on TMPDIR=/var/tmp PORTAL_DATA_DIR=/var/lib/portal
RUN useradd --system --user-group --uid 10001 --create-home --home-dir /var/lib/portal portal
WORKDIR /opt/portal
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY manage.py pyproject.toml README.md CHANGELOG.md CONTRIBUTING.md ./
COPY portal portal
COPY usage usage
COPY sync sync
COPY templates templates
COPY static static
COPY docs docs
RUN PYTHONDONTWRITEBYTECODE= python -m compileall -q portal usage sync
USER portal
EXPOSE 8000
CMD ["python", "-m", "portal.web", "--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
