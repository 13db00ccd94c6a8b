output "fleet" {
  description = "Name of the fleet."
  value       = terraform_data.fleet.output.name
}

output "environment" {
  description = "Environment that was applied."
  value       = terraform_data.fleet.output.environment
}

output "fleet_file_sha256" {
  description = "SHA-256 of the fleet file that was applied."
  value       = terraform_data.fleet.output.file_sha256
}
