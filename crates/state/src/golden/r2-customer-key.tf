terraform {
  backend "s3" {
    bucket                      = "acme-terraform-state"
    key                         = "nats/terraform.tfstate"
    region                      = "auto"
    endpoints                   = { s3 = "https://0123456789abcdef.r2.cloudflarestorage.com" }
    use_lockfile                = true
    encrypt                     = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_metadata_api_check     = true
    skip_requesting_account_id  = true
    skip_s3_checksum            = true
  }
}
