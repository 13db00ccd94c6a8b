# Written by windlass; a change here is lost.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "internet", network = (allow = ["public", "private", "local"],
      tlsOptions = (trustBrowserCas = true, trustedCertificates = ["-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]))),
    (name = "storage", disk = (path = "/srv/storage", writable = true)),
    (name = "binding-ROUTES", external = (address = "127.0.0.1:9000", http = (injectRequestHeaders = [(name = "x-windlass-binding", value = "one")]))),
    (name = "binding-PAYLOADS", external = (address = "127.0.0.1:9000", http = (injectRequestHeaders = [(name = "x-windlass-binding", value = "one")]))),
    (name = "binding-SEARCH", external = (address = "127.0.0.1:9000", http = (injectRequestHeaders = []))),
    (name = "acme-nats-orchestrator", worker = .worker),
  ],
  sockets = [(name = "http", http = (), service = "acme-nats-orchestrator")],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "module-0"),
    (name = "a.wasm", wasm = embed "module-1"),
  ],
  compatibilityDate = "2026-11-01",
  compatibilityFlags = ["nodejs_compat"],
  bindings = [
    (name = "NODE", durableObjectNamespace = "NatsNode"),
    (name = "OUTBOX", durableObjectNamespace = "Outbox"),
    (name = "ROUTES", kvNamespace = "binding-ROUTES"),
    (name = "PAYLOADS", r2Bucket = "binding-PAYLOADS"),
    (name = "SEARCH", service = "binding-SEARCH"),
    (name = "API_TOKEN", fromEnvironment = "WINDLASS_SECRET_API_TOKEN"),
    (name = "MOTTO", text = "a \"quoted\"\\ line\nand\ta tab\x01 é"),
    (name = "SETTINGS", json = "{\"fleet\":\"acme\",\"regions\":{\"weur\":{\"min\":1}}}"),
    (name = "VERSION", json = "{\"id\":\"v-1\",\"tag\":\"\",\"timestamp\":\"2026-11-25T00:00:00Z\"}"),
  ],
  durableObjectNamespaces = [
    (className = "NatsNode", uniqueKey = "acme-nats-orchestrator-NatsNode", enableSql = true, container = (imageName = "acme/nats:2.15.1")),
    (className = "Outbox", uniqueKey = "0123abcd", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "storage"),
  containerEngine = (localDocker = (socketPath = "unix:/srv/engine.sock", containerEgressInterceptorImage = "cloudflare/proxy-everything:windlass")),
);
