# One image for the three services: `python -m ingestor`, `python -m aggregator`, `python -m api`, and the `tally` command.

# The third-party files of the live page and of the API docs page, which are npm packages. Their Node is the Python package
# that the Makefile takes as well, so that one base image is all that a build needs. Only those files leave this stage.
FROM python:3.13-slim AS assets
WORKDIR /build
COPY requirements/node.txt requirements/
RUN python -m pip install --disable-pip-version-check --no-cache-dir --require-hashes --only-binary :all: \
      --requirement requirements/node.txt
COPY package.json package-lock.json .npmrc ./
COPY scripts/assets.py scripts/
RUN python scripts/assets.py


FROM python:3.13-slim AS build
# Whatever is installed has to have the hash that the lock files tell, and is never built here.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all:
WORKDIR /build

# Without pip: both environments are filled from outside, so that what is copied out of this stage can install nothing. The
# second has the build system, and stays here.
RUN python -m venv --without-pip /opt/tally && python -m venv --without-pip /opt/build

# Packages change rarely, code often: a layer for each, so that a change of the code downloads nothing again.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m pip --python /opt/tally/bin/python install --requirement requirements/runtime.txt \
 && python -m pip --python /opt/build/bin/python install --requirement requirements/build.txt

COPY . .
COPY --from=assets /build/api/static/vendor api/static/vendor
# The package that is made here is our own, and of no known hash.
RUN export PIP_REQUIRE_HASHES=0 \
 && python -m pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && python -m pip --python /opt/tally/bin/python install --no-deps --no-index dist/*.whl


FROM python:3.13-slim
LABEL org.opencontainers.image.title="Tally" \
      org.opencontainers.image.description="Counts an endless stream of JSON events exactly, while it runs" \
      org.opencontainers.image.licenses="MIT"

# By number, so that an orchestrator can see without asking that it is not root.
RUN groupadd --gid 10001 tally \
 && useradd --uid 10001 --gid tally --home-dir /data --no-create-home --shell /usr/sbin/nologin tally \
 && install --directory --owner=tally --group=tally /data
# Where docker-compose.yml mounts what each user of Redis logs in with: a new volume takes over who owns the folder. Redis itself
# has to look into the last one.
RUN cd /run && install --directory --owner=tally --group=tally --mode=0700 \
      tally/ingestor tally/aggregator tally/api tally/admin \
 && install --directory --owner=tally --group=tally --mode=0755 tally/replica
COPY --from=build /opt/tally /opt/tally

# Nothing can be installed here, not even by the base image's own Python.
RUN python -c "import importlib.util as u, shutil; [shutil.rmtree(found.submodule_search_locations[0]) \
      for found in map(u.find_spec, ('pip', 'ensurepip')) if found]"

# PYTHONSAFEPATH: the working folder is the user's, and a file api.py among the data must not be imported as ours.
# The hosts: nothing outside a container reaches its loopback; who may connect is decided where the port is published.
ENV PATH=/opt/tally/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    TALLY_HTTP_HOST=0.0.0.0 \
    TALLY_METRICS_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data

# No HEALTHCHECK: the three services are healthy in different ways, see docker-compose.yml.
CMD ["tally", "--help"]
