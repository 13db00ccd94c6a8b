terraform {
  backend "s3" {
    bucket       = "acme-terraform-state"
    key          = "nats/terraform.tfstate"
    region       = "eu-central-1"
    use_lockfile = true
    encrypt      = true
  }
}
