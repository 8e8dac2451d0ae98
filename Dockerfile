# tensorhost in an image: docs/container.md says how it is built, run and what was measured.
# EXTRAS are those of pyproject.toml: all, or for a third of the size, without TensorFlow, openvino,litert,text.

# Debian with Python 3.11 to 3.13 and pip; the same in every stage, since what is installed refers to its Python.
ARG BASE=python:3.13-slim-trixie


FROM ${BASE} AS tools
# Any version will do. tini becomes the first process: it passes signals on and reaps what nobody waits for.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils tini \
    && rm -rf /var/lib/apt/lists/*


FROM tools AS dependencies
ARG EXTRAS=all
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Of tensorhost itself no more than its version, so that a change of the code leaves this stage and its layer alone.
COPY pyproject.toml README.md LICENSE ./
COPY src/tensorhost/core/version.py src/tensorhost/core/
# The secrets are optional: settings of pip for a private index, and the authority of its certificate.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv --without-pip /opt/tensorhost \
    && python3 -m pip --python /opt/tensorhost/bin/python install --no-cache-dir --no-compile ".[${EXTRAS}]" \
    && python3 -m pip --python /opt/tensorhost/bin/python uninstall --yes tensorhost libclang \
    && python3 -m pip --python /opt/tensorhost/bin/python list --format=freeze > /opt/tensorhost/packages.txt
# What serves nobody here: headers, tests, plugins for hardware that tensorhost does not use, the names of functions that
# only a debugger would ask for (a fifth of TensorFlow). Other libraries are left alone: some break when they are stripped.
RUN rm -rf /opt/tensorhost/lib/python3*/site-packages/tensorflow/include \
        /opt/tensorhost/lib/python3*/site-packages/openvino/include \
        /opt/tensorhost/lib/python3*/site-packages/openvino/libs/libopenvino_intel_[gn]pu_plugin.so \
        /opt/tensorhost/lib/python3*/site-packages/openvino/libs/cache.json \
    && find /opt/tensorhost/lib -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/tensorhost/lib -name 'libtensorflow_*.so.*' -exec strip --strip-unneeded {} +
# A read-only file system keeps no bytecode that is made at the start.
RUN /opt/tensorhost/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/tensorhost/lib


FROM dependencies AS package
COPY src src
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m pip --python /opt/tensorhost/bin/python install --no-cache-dir --no-compile --no-deps --prefix /package . \
    && /opt/tensorhost/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /package -p /opt/tensorhost /package/lib


FROM ${BASE}
ARG BASE
ARG EXTRAS=all
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tensorhost" \
      org.opencontainers.image.description="Serves trained TensorFlow-family models over HTTP and gRPC" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      tensorhost.extras="${EXTRAS}"

# The group of /cache is root's for platforms that choose the user themselves and put it in that group. The official
# images of Python come without the standard library's bytecode.
RUN groupadd --gid 10001 tensorhost \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tensorhost \
    && install --directory --mode=0755 /models \
    && install --directory --mode=0770 --owner=10001 --group=0 /cache \
    && python3 -m compileall -q -j 0 -x '/(site-packages|dist-packages|test|idlelib|tkinter|turtledemo|ensurepip)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

COPY --from=tools /usr/bin/tini-static /usr/bin/tini
COPY --from=dependencies /opt/tensorhost /opt/tensorhost
COPY deploy/image/health.py /opt/tensorhost/
COPY deploy/image/entrypoint /opt/tensorhost/bin/
COPY --from=package /package /opt/tensorhost
# Manifests for the image of TensorFlow Serving name these.
RUN ln -s /opt/tensorhost/bin/tensorflow_model_server /usr/bin/ \
    && ln -s /opt/tensorhost/bin/entrypoint /usr/bin/tf_serving_entrypoint.sh

ENV PATH=/opt/tensorhost/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    MODEL_PATH=/models \
    TENSORHOST_CACHE_DIR=/cache/tensorhost

USER 10001:10001
# HTTP and gRPC of `serve`; HTTP as TensorFlow Serving's image has it.
EXPOSE 3000 8500 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python3", "-IS", "/opt/tensorhost/health.py"]
ENTRYPOINT ["tini", "--", "entrypoint"]
