# Written by Windlass from the fleet "acme": what `windlass apply` would make. Change the fleet file instead.
#
# The provider cannot do two things, so they are not here:
#
#   1. The container application, and that the class NatsNode has containers. `windlass apply` and
#      `wrangler deploy` make it so:
#        name                        acme-nats-edge
#        image                       registry.cloudflare.com/0123456789abcdef0123456789abcdef/windlass-nats:2.15.1
#        instance_type               basic
#        max_instances               8
#        constraints.regions         ENAM, WEUR
#        scheduling_policy           default
#        rollout_active_grace_period 60
#   2. What runs in the containers. `windlass plan` asks the nodes themselves.

terraform {
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
  }
}

variable "account_id" {
  description = "The account's identifier."
  type        = string
  default     = "0123456789abcdef0123456789abcdef"
}

variable "api_token" {
  description = "The Worker's secret API_TOKEN."
  type        = string
  sensitive   = true
}

variable "leaf_creds" {
  description = "The Worker's secret LEAF_CREDS."
  type        = string
  sensitive   = true
}

variable "hub_creds" {
  description = "The Worker's secret HUB_CREDS."
  type        = string
  sensitive   = true
}

variable "webhook_secret" {
  description = "The Worker's secret WEBHOOK_SECRET."
  type        = string
  sensitive   = true
}

resource "cloudflare_r2_bucket" "payloads" {
  account_id = var.account_id
  name       = "acme-payloads"
}

resource "cloudflare_r2_bucket_lifecycle" "payloads" {
  account_id  = var.account_id
  bucket_name = cloudflare_r2_bucket.payloads.name
  rules = [{
    id         = "windlass-payloads"
    enabled    = true
    conditions = { prefix = "" }
    delete_objects_transition = {
      condition = { type = "Age", max_age = 2851200 }
    }
  }]
}

resource "cloudflare_workers_kv_namespace" "routes" {
  account_id = var.account_id
  title      = "acme-nats-orchestrator-routes"
}

resource "cloudflare_workers_script" "nats_orchestrator" {
  account_id          = var.account_id
  script_name         = "acme-nats-orchestrator"
  main_module         = "worker.js"
  content_file        = "${path.module}/../worker.js"
  content_sha256      = filesha256("${path.module}/../worker.js")
  compatibility_date  = "2026-11-01"
  compatibility_flags = ["nodejs_compat"]
  observability       = { enabled = true }

  migrations = {
    new_tag = "v1"
    steps   = [{ new_sqlite_classes = ["NatsNode", "Fleet", "Outbox"] }]
  }

  bindings = [
    { type = "durable_object_namespace", name = "NODE", class_name = "NatsNode" },
    { type = "durable_object_namespace", name = "FLEET", class_name = "Fleet" },
    { type = "durable_object_namespace", name = "OUTBOX", class_name = "Outbox" },
    { type = "kv_namespace", name = "ROUTES", namespace_id = cloudflare_workers_kv_namespace.routes.id },
    { type = "r2_bucket", name = "PAYLOADS", bucket_name = cloudflare_r2_bucket.payloads.name },
    { type = "version_metadata", name = "VERSION" },
    { type = "json", name = "SETTINGS", json = file("${path.module}/settings.json") },
    { type = "secret_text", name = "API_TOKEN", text = var.api_token },
    { type = "secret_text", name = "LEAF_CREDS", text = var.leaf_creds },
    { type = "secret_text", name = "HUB_CREDS", text = var.hub_creds },
    { type = "secret_text", name = "WEBHOOK_SECRET", text = var.webhook_secret },
  ]
}

resource "cloudflare_workers_script_subdomain" "nats_orchestrator" {
  account_id       = var.account_id
  script_name      = cloudflare_workers_script.nats_orchestrator.script_name
  enabled          = true
  previews_enabled = false
}
