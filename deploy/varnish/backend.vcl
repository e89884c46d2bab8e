# Where the origin is, and who may purge. `manage.py up --edge` writes its own.
backend origin {
    .host = "127.0.0.1";
    .port = "8081";
    .host_header = "localhost";
    .connect_timeout = 200ms;
    .first_byte_timeout = 30s;
    .between_bytes_timeout = 10s;
    .probe = {
        .url = "/healthz";
        .interval = 500ms;
        .timeout = 1s;
        .window = 3;
        .threshold = 2;
        .initial = 0;  # /edge-ready says 200 only once the origin has answered
    }
}

# The same without a probe: who finds nothing stale is not refused because the last probe was slow.
backend straight {
    .host = "127.0.0.1";
    .port = "8081";
    .host_header = "localhost";
    .connect_timeout = 1s;
    .first_byte_timeout = 30s;
    .between_bytes_timeout = 10s;
}

acl may_purge {
    "127.0.0.1";
    "::1";
}
