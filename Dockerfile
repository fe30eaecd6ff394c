# Builds the server; the queries are checked against .sqlx, so no database is needed.
FROM rust:1.95-bookworm AS build
WORKDIR /src
ENV SQLX_OFFLINE=true
COPY . .
RUN cargo build --release --locked --bin ordergate

# Runs it, with a PostgreSQL of its own unless DATABASE_URL names another.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    # The package's own cluster would only take room.
    && sed -ri 's/^#?(create_main_cluster) .*$/\1 = false/' /etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/*
# PostgreSQL refuses to run as root, and needs a user with a name.
RUN groupadd --system --gid 10001 ordergate \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/ordergate --shell /usr/sbin/nologin ordergate \
    && install --directory --owner=ordergate --group=ordergate --mode=0700 /var/lib/ordergate
COPY --from=build /src/target/release/ordergate /usr/local/bin/ordergate

USER 10001:10001
WORKDIR /var/lib/ordergate
VOLUME /var/lib/ordergate
# For the commands that are run beside the server.
ENV ORDERGATE_DATA_DIR=/var/lib/ordergate
EXPOSE 8080
# SIGTERM: running requests finish, then the private PostgreSQL stops. Give it more than Docker's ten seconds.
STOPSIGNAL SIGTERM
# bash can speak enough HTTP for this.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '\"error\":0' <&3"]
ENTRYPOINT ["ordergate"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--data-dir", "/var/lib/ordergate"]
