//! `windlass cloudflare migrate-state`: Terraform's state and the fleet's own, to R2.
