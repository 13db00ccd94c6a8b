terraform {
  # The first Terraform that locks a state in the bucket itself, without a DynamoDB table.
  required_version = ">= 1.10.0"
}
