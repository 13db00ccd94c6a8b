terraform {
  backend "s3" {
    bucket                      = "acme-terraform-state"
    key                         = "nats/terraform.tfstate"
    region                      = "auto"
    endpoint                    = "https://0123456789abcdef.r2.cloudflarestorage.com"
    force_path_style            = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_metadata_api_check     = true
  }
}
