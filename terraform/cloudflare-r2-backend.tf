# The state is an object in a bucket of Cloudflare R2. Everything that names a place or a key is left out, and comes from
# the environment or from `-backend-config` (see README.md), so that this file is the same for everyone.
#
#   AWS_ENDPOINT_URL_S3     https://ACCOUNT.r2.cloudflarestorage.com
#   AWS_ACCESS_KEY_ID       the ID of an R2 token
#   AWS_SECRET_ACCESS_KEY   the SHA-256 of the token's value
#
# `windlass state backend r2://BUCKET/KEY` prints this block with its values for the Terraform that is installed.
terraform {
  backend "s3" {
    # bucket and key: -backend-config=bucket=… -backend-config=key=…
    region       = "auto"
    use_lockfile = true

    # R2 is not Amazon: what asks Amazon's own services is left out.
    use_path_style              = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_s3_checksum            = true
  }
}
